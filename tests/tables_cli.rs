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
    assert_eq!(
        said,
        "crm.account: unlinked; the next run leaves it out and removes its files\n\
         crm.contact: unlinked as before; the next run leaves it out and removes its files\n"
    );
    let removing = "unlinked-files = \"remove\"\n";
    let expected = FILE
        .replace("# a guid\n", &format!("# a guid\nlinked = false\n{removing}"))
        .replace("is over\n", &format!("is over\n{removing}"));
    assert_eq!(text(&installation), expected);
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
