//! `lakeport tables`: what it makes of a configuration that a person wrote.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::lake_folder::Installation;

const FILE: &str = r#"# Our business system.
[sources.crm-changes]   # what the feed writes
files = "changes/*.ndjson"
envelope = "change"

[exports.crm]
type = "table"
source = "crm-changes"
snapshots = { every = "5m" } # for the dashboard

# Customers.
[exports.crm.tables.account]
key = "/accountid"      # a guid

[exports.crm.tables.contact]
linked = false # until the migration is over

# Everything else as it comes.
[exports.all]
source = "crm-changes"
timestamp = "write"
# The end.
"#;

fn installation() -> Installation {
    Installation::new(FILE)
}

fn text(installation: &Installation) -> String {
    fs::read_to_string(installation.path().join("lakeport.toml")).unwrap()
}

/// What is said where a command is refused; the configuration is as it was.
fn refused(installation: &Installation, args: &[&str]) -> String {
    let before = text(installation);
    let output = installation.run(args);
    assert_eq!(output.status.code(), Some(2), "{args:?}");
    assert_eq!(text(installation), before, "{args:?}");
    assert_eq!(fs::read_dir(installation.path()).unwrap().count(), 1, "{args:?} left something behind");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn tables_are_linked_and_unlinked_in_place_with_every_comment() {
    let installation = installation();
    let file = installation.path().join("lakeport.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();

    let said = installation.run_ok(&["tables", "link", "lakeport.toml", "contact"]);
    assert_eq!(said, "crm.contact: linked; the next run begins with it\n");
    let linked = FILE.replace("linked = false #", "linked = true #");
    assert_eq!(text(&installation), linked);

    let said = installation.run_ok(&["tables", "unlink", "lakeport.toml", "crm.account"]);
    assert_eq!(said, "crm.account: unlinked; the next run leaves it out and keeps its files\n");
    let unlinked = linked.replace("# a guid\n", "# a guid\nlinked = false\n");
    assert_eq!(text(&installation), unlinked);

    installation.run_ok(&["tables", "link", "lakeport.toml", "account", "--again"]);
    let again = unlinked.replace("guid\nlinked = false\n", "guid\nlinked = true\nlink = 2\n");
    assert_eq!(text(&installation), again);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_new_table_is_a_section_behind_the_others() {
    let installation = installation();
    let said = installation.run_ok(&[
        "tables",
        "link",
        "lakeport.toml",
        "Sales order",
        "--key",
        "/id",
        "--key",
        "/region",
        "--created",
        "/createdon",
        "--write",
        "append-only",
        "--kind",
        "public.order",
        "--columns",
        "infer",
    ]);
    assert_eq!(said, "crm.Sales order: added; the next run begins with it\n");
    let section = "\n[exports.crm.tables.\"Sales order\"]\nkind = \"public.order\"\nkey = [\"/id\", \"/region\"]\n\
                   created = \"/createdon\"\nwrite = \"append-only\"\ncolumns = \"infer\"\n";
    assert_eq!(text(&installation), FILE.replace("is over\n", &format!("is over\n{section}")));
}

#[test]
fn every_table_can_be_unlinked_at_once_and_files_go_only_where_that_is_meant() {
    let installation = installation();
    let remove = ["tables", "unlink", "lakeport.toml", "--all", "--files", "remove"];
    let said = refused(&installation, &remove);
    assert!(said.contains("the files of `crm.account`, `crm.contact` would be removed"), "{said}");
    assert!(said.contains("add `--yes`"), "{said}");

    let said = installation.run_ok(&[&remove[..], &["--yes"]].concat());
    let place = |table: &str| format!("`{}/crm/{table}/`", installation.lake().display());
    assert_eq!(
        said,
        format!(
            "crm.account: unlinked; the next run leaves it out; the last commit does not have it, and what is in {} stays\n\
             crm.contact: unlinked as before; no run removes what is in {}\n",
            place("account"),
            place("contact")
        )
    );
    assert_eq!(
        text(&installation),
        FILE.replace("# a guid\n", "# a guid\nlinked = false\nunlinked-files = \"remove\"\n")
    );
}

#[test]
fn files_are_removed_by_the_run_that_leaves_their_table_out_or_not_at_all() {
    let file = FILE.replace("linked = false", "linked = true").replace("key = \"/accountid\"", "columns = \"infer\"");
    let installation = Installation::new(&file.replace("over\n", "over\ncolumns = \"infer\"\n"));
    let record = |kind: &str, key: &str| {
        let row = serde_json::json!({ "operation": "create", "kind": kind, "key": key, "version": 1,
            "body": { "accountid": key, "name": "N" } });
        format!("{row}\n")
    };
    installation.write("changes/1.ndjson", record("account", "a") + &record("contact", "x"));
    let lies =
        |table: &str| installation.files().keys().filter(|path| path.starts_with(&format!("crm/{table}/"))).count();
    let unlink = |args: &[&str]| installation.run(&[&["tables", "unlink", "lakeport.toml"], args].concat());
    let remove = ["--files", "remove", "--yes"];
    installation.run_ok(&["run", "--quiet"]);
    assert_eq!((lies("account"), lies("contact")), (1, 1));

    // Before a run that leaves it out, another word counts.
    assert!(unlink(&["contact"]).status.success());
    let said = unlink(&[&["contact"], &remove[..]].concat()).stdout;
    assert_eq!(said, b"crm.contact: unlinked as before; the next run leaves it out and removes its files\n");
    assert!(unlink(&["account"]).status.success());
    installation.run_ok(&["run", "--quiet"]);
    assert_eq!((lies("account"), lies("contact")), (1, 0));

    // After it, nothing knows the files any more.
    let before = text(&installation);
    let output = unlink(&[&["account"], &remove[..]].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("`crm.account` is unlinked, and the last commit does not have it"), "{said}");
    let place = format!("`{}/crm/account/` by hand: nothing points at it", installation.lake().display());
    assert!(said.contains(&place), "{said}");
    assert_eq!(text(&installation), before);
    installation.run_ok(&["run", "--quiet"]);
    assert_eq!(lies("account"), 1);
}

#[test]
fn tables_are_linked_and_unlinked_where_no_secret_is_set() {
    let lake = "[lakes.main]\nurl = \"s3://exports/x\"\naccess-key-id = \"env:TABLES_CLI_ID\"\n\
                secret-access-key = \"env:TABLES_CLI_SECRET\"\n\n";
    let installation = Installation::new(&format!("{lake}{FILE}"));
    installation.run_ok(&["tables", "unlink", "lakeport.toml", "account"]);
    installation.run_ok(&["tables", "link", "lakeport.toml", "account", "contact"]);
    // Where files are to go, the lake is asked, and that needs them.
    let said = refused(&installation, &["tables", "unlink", "lakeport.toml", "account", "--files", "remove", "--yes"]);
    assert!(said.contains("the environment variable `TABLES_CLI_ID` is not set"), "{said}");
}

#[test]
fn a_change_that_would_be_wrong_is_not_made() {
    let installation = installation();
    for (args, said) in [
        (&["link", "lakeport.toml", "Account"][..], "differ in letter case only"),
        (&["link", "lakeport.toml", "order", "--write", "append-only", "--partition", "month"], "partitioned by year"),
        (&["link", "lakeport.toml", "order", "--key", "id"], "not a JSON pointer"),
        (&["link", "lakeport.toml", "order", "--kind", "account"], "hold the same kind of records"),
        (&["link", "lakeport.toml", "account", "--key", "/id"], "`--key` is for new tables"),
        (&["link", "lakeport.toml", "order", "--again"], "there is no table `crm.order`"),
        (&["link", "lakeport.toml", "erp.order"], "there is no export of tables `erp`"),
        (&["link", "lakeport.toml"], "no table is named"),
        (&["unlink", "lakeport.toml", "acount"], "did you mean `account`"),
        (&["unlink", "lakeport.toml"], "no table is named"),
    ] {
        let shown = refused(&installation, &[&["tables"], args].concat());
        assert!(shown.contains(said), "{args:?}: {shown}");
    }
}

#[test]
fn the_list_has_every_table_of_every_export() {
    let installation = installation();
    assert_eq!(
        installation.run_ok(&["tables", "list"]),
        "export  table    linked  write     partition  state\n\
         crm     account  yes     in-place  year       not started\n\
         crm     contact  no      in-place  year       not started\n"
    );
    let json: Value = serde_json::from_str(&installation.run_ok(&["tables", "list", "--json"])).unwrap();
    assert_eq!(
        json["tables"][1],
        serde_json::json!({
            "export": "crm", "table": "contact", "kind": "contact", "linked": false, "write": "in-place",
            "partition": "year", "sync": "not-started", "synced": null, "stopped": null, "rows": 0, "columns": 0,
            "files": 0, "waiting": 0, "snapshot": null,
        })
    );
}
