//! What right configurations resolve to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::plan::*;

/// The environment of these tests.
pub fn environment(name: &str) -> Option<String> {
    match name {
        "LAKE_KEY" | "SENSORS_TOKEN" => Some("hunter2-from-the-environment\n".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

/// Parses a configuration in the folder `/etc/lakeport`.
pub fn parse(text: &str) -> Result<Plan> {
    super::parse(text, Path::new("/etc/lakeport/lakeport.toml"), &environment)
}

const SMALLEST_FILE: &str =
    "[sources.signals]\nfiles = \"signals/*.ndjson\"\n\n[exports.signals]\nsource = \"signals\"\n";

/// The smallest file with more lines in its export.
fn export_with(lines: &str) -> ExportPlan {
    parse(&format!("{SMALLEST_FILE}{lines}")).unwrap_or_else(|error| panic!("{error}")).exports.remove(0)
}

/// A lake of these lines.
fn lake_with(lines: &str) -> Location {
    let plan = parse(&format!("[lakes.main]\n{lines}\n{SMALLEST_FILE}")).unwrap_or_else(|error| panic!("{error}"));
    plan.exports[0].lake.location.clone()
}

#[test]
fn four_lines_resolve_to_the_documented_defaults() {
    let plan = parse(SMALLEST_FILE).unwrap();
    assert_eq!(plan.exports.len(), 1);
    let export = &plan.exports[0];
    assert_eq!(export.name, "signals");
    assert_eq!(export.source.input, Input::Files(vec!["/etc/lakeport/signals/*.ndjson".into()]));
    assert_eq!(export.source.mapping, Mapping::plain());
    assert!(matches!(&export.lake.location, Location::Local(path) if path == Path::new("/etc/lakeport/lake")));
    assert_eq!(export.lake.log_folder, "_lakeport");
    assert_eq!((export.format.plugin.name.as_str(), &export.format.plugin.origin), ("ndjson", &PluginOrigin::BuiltIn));
    assert_eq!(export.format.config, serde_json::json!({}));
    assert!(export.filters.is_empty() && export.transforms.is_empty());
    assert_eq!(export.granularity, Granularity::Hour);
    assert_eq!(export.timestamp, Timestamp::Event { or_enqueued: false });
    assert_eq!(export.path.to_string(), "{export}/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}");
    assert_eq!(export.files, Files::Growing { roll_size: 16 << 20 });
    assert_eq!(export.flush, Flush { every: Duration::from_secs(60), bytes: 256 << 20 });
    assert_eq!(export.on_error, OnError::DeadLetter);
    assert_eq!((export.max_record_size, export.max_dead_letters), (1 << 20, None));
}

#[test]
fn the_documented_signals_export_resolves() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("plugins")).unwrap();
    std::fs::write(folder.path().join("plugins/too_hot.wasm"), "").unwrap();
    let text = r#"
        [lakes.main]
        url = "abfss://exports@contoso.dfs.core.windows.net/product/"
        account-key = "env:LAKE_KEY"

        [plugins.too-hot]
        path = "plugins/too_hot.wasm"
        limits = { memory = "128MiB", time = "2s" }

        [sources.signals]
        files = "signals/*.ndjson"
        envelope = "plain"
        kind = "/name"
        time = "/signalTime"
        subject = "/deviceId"

        [exports.signals]
        source = "signals"
        lake = "main"
        filters = [{ plugin = "select", kinds = ["BrewStarted", "Brew*"] }, { plugin = "too-hot", threshold = 90 }]
        transforms = []
        format = { plugin = "ndjson" }
        granularity = "hour"
        timestamp = "event"
        path = "signals/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}"
        files = "growing"
        flush = { every = "60s", bytes = "64MiB" }
        on-error = "dead-letter"
    "#;
    let plan = super::parse(text, &folder.path().join("lakeport.toml"), &environment).unwrap();
    let export = &plan.exports[0];
    let Location::Azure { account, container, prefix, endpoint: None, credential: AzureCredential::AccountKey(key) } =
        &export.lake.location
    else {
        panic!("{:?}", export.lake)
    };
    assert_eq!((account.as_str(), container.as_str(), prefix.as_str()), ("contoso", "exports", "product"));
    assert_eq!(key.expose(), "hunter2-from-the-environment", "without the end of the line");
    assert_eq!(export.filters[0].config, serde_json::json!({ "kinds": ["BrewStarted", "Brew*"] }));
    assert_eq!(export.filters[1].config, serde_json::json!({ "threshold": 90 }));
    let too_hot = &export.filters[1].plugin;
    assert_eq!(too_hot.origin, PluginOrigin::Path(folder.path().join("plugins/too_hot.wasm")));
    assert_eq!(too_hot.limits, Limits { memory: 128 << 20, time: Duration::from_secs(2), ..Limits::default() });
    assert_eq!(export.flush.bytes, 64 << 20);
}

#[test]
fn the_keys_defaults_are_the_plans() {
    let cx = Context { doc: Document::new(Path::new("x"), ""), folder: PathBuf::from("/"), env: &environment };
    assert_eq!(plugins::default_limits(&cx).unwrap(), Limits::default());
}

#[test]
fn a_default_path_goes_as_far_as_the_granularity() {
    assert_eq!(export_with("granularity = \"day\"").path.to_string(), "{export}/{YYYY}/{MM}/{dd}/{part}.{ext}");
    assert_eq!(
        export_with("granularity = \"minute\"").path.to_string(),
        "{export}/{YYYY}/{MM}/{dd}/{HH}/{mm}/{part}.{ext}"
    );
}

#[test]
fn every_kind_of_file_and_time_is_understood() {
    assert_eq!(export_with("files = \"sealed\"").files, Files::Sealed { lateness: Duration::from_secs(600) });
    assert_eq!(export_with("files = \"sealed\"\nlateness = \"0s\"").files, Files::Sealed { lateness: Duration::ZERO });
    assert_eq!(export_with("files = \"rolling\"\npath = \"x/{part}.{ext}\"").files, Files::Rolling);
    assert_eq!(export_with("roll-size = \"1GB\"").files, Files::Growing { roll_size: 1_000_000_000 });
    assert_eq!(export_with("timestamp = \"write\"").timestamp, Timestamp::Write);
    assert_eq!(export_with("event-time-missing = \"enqueued\"").timestamp, Timestamp::Event { or_enqueued: true });
    assert_eq!(export_with("on-error = \"stop\"\nmax-dead-letters = 0").max_dead_letters, Some(0));
}

#[test]
fn attributes_can_be_elsewhere_or_absent() {
    let text = "[sources.s]\nstdin = true\nkind = false\ntime = \"/a~1b/0\"\ntime-unit = \"epoch-milliseconds\"\n\
                id = \"/id\"\nsubject = false\n[exports.e]\nsource = \"s\"\n";
    let source = parse(text).unwrap().exports[0].source.clone();
    assert_eq!(source.input, Input::Stdin { spool: None });
    let mapping = &source.mapping;
    assert_eq!((&mapping.kind, &mapping.time), (&Place::Nowhere, &Place::Body("/a~1b/0".into())));
    assert_eq!((&mapping.id, &mapping.subject), (&Place::Body("/id".into()), &Place::Nowhere));
    assert_eq!(mapping.time_unit, TimeUnit::EpochMilliseconds);
}

#[test]
fn an_envelope_says_where_attributes_are_unless_the_source_does() {
    for (name, envelope) in Envelope::ALL.into_iter().skip(1) {
        let text = format!("[sources.s]\nfiles = \"in/\"\nenvelope = \"{name}\"\nsubject = \"/asset\"\nid = false\n");
        let mapping = parse(&format!("{text}[exports.e]\nsource = \"s\"\n")).unwrap().exports[0].source.mapping.clone();
        assert_eq!((mapping.envelope, mapping.envelope.name()), (envelope, name));
        assert_eq!(
            (&mapping.kind, &mapping.time, &mapping.version),
            (&Place::Envelope, &Place::Envelope, &Place::Envelope)
        );
        assert_eq!((&mapping.subject, &mapping.id), (&Place::Body("/asset".into()), &Place::Nowhere));
    }
}

/// The tables of an export with these lines before its tables and these tables.
fn tables_with(lake: &str, lines: &str, tables: &str) -> TablesPlan {
    let text = format!(
        "[lakes.main]\n{lake}\n[sources.s]\nfiles = \"x\"\nenvelope = \"change\"\n\
         [exports.crm]\ntype = \"table\"\nsource = \"s\"\n{lines}\n{tables}"
    );
    let export = parse(&text).unwrap_or_else(|error| panic!("{error}")).exports.remove(0);
    assert_eq!((export.granularity, export.timestamp), (Granularity::Day, Timestamp::Write));
    assert_eq!(export.files, Files::Once);
    let Exports::Tables(plan) = &export.exports else { panic!("{:?}", export.exports) };
    TablesPlan::clone(plan)
}

#[test]
fn a_table_resolves_to_the_documented_defaults() {
    let plan = tables_with("url = \"./out\"", "", "[exports.crm.tables.account]");
    assert_eq!((plan.root.as_str(), plan.public_url.as_str()), ("crm", "file:///etc/lakeport/out/crm/"));
    assert_eq!((plan.every, plan.keep), (Duration::from_secs(3_600), Duration::from_secs(86_400)));
    let account = TablePlan {
        linked: true,
        link: 1,
        remove_files: false,
        kinds: vec!["account".into()],
        key: Vec::new(),
        created: None,
        write: Write::InPlace,
        partition: Partition::Year,
        columns: Columns::Stream,
    };
    assert_eq!(plan.tables, BTreeMap::from([("account".to_owned(), account)]));
}

#[test]
fn everything_can_be_said_of_a_table() {
    let plan = tables_with(
        "url = \"s3://bucket/a b\"\ninstance-role = true",
        "root = \"business/crm/\"\ndescription = \"ours\"\nsnapshots = { every = \"5m\", keep = \"7d\" }",
        r#"
            [exports.crm.tables."Sales order"]
            linked = false
            link = 3
            unlinked-files = "remove"
            kind = "public.order"
            key = ["/id", "/region"]
            created = "/createdon"
            write = "append-only"
            columns = "infer"

            [exports.crm.tables.account]
            key = "/accountid"
            partition = "month"
            columns = [
                { name = "name", data-type = "string", max-length = 160 },
                { name = "revenue", data-type = "decimal", precision = 38, scale = 2 },
                { name = "state", data-type = "int64", choice-set = "states", choices = [
                    { value = -1, label = "Open" },
                    { value = -1, label = "Offen", language = 1031 },
                ] },
            ]
        "#,
    );
    assert_eq!(plan.public_url, "s3://bucket/a%20b/business/crm/");
    assert_eq!((plan.root.as_str(), plan.description.as_str()), ("business/crm", "ours"));
    let (order, account) = (&plan.tables["Sales order"], &plan.tables["account"]);
    assert_eq!(
        (order.linked, order.link, order.remove_files, order.kinds.join(" ")),
        (false, 3, true, "public.order".to_owned())
    );
    assert_eq!((&order.key[..], order.created.as_deref()), (&["/id".into(), "/region".into()][..], Some("/createdon")));
    assert_eq!((order.write, &order.columns), (Write::AppendOnly, &Columns::Infer));
    assert_eq!(account.partition, Partition::Month);
    let Columns::Given(columns) = &account.columns else { panic!("{:?}", account.columns) };
    assert_eq!((columns[0].max_length, columns[1].precision, columns[1].scale), (Some(160), Some(38), Some(2)));
    assert_eq!(columns[2].choices.iter().map(|choice| choice.language).collect::<Vec<_>>(), [1033, 1031]);
    assert_eq!(columns[2].choice_set.as_deref(), Some("states"));
}

#[test]
fn readers_find_tables_at_the_lake_or_where_the_export_says() {
    let table = "[exports.crm.tables.a]";
    let azure = "url = \"abfss://exports@contoso.dfs.core.windows.net/product/\"\nmanaged-identity = true\n";
    let emulator = format!("{azure}endpoint = \"http://127.0.0.1:10000/contoso/\"");
    for (lake, lines, url) in [
        (azure, "", "https://contoso.dfs.core.windows.net/exports/product/crm/"),
        (&emulator, "", "http://127.0.0.1:10000/contoso/exports/product/crm/"),
        ("url = \"gs://bucket\"\nanonymous = true", "", "gs://bucket/crm/"),
        ("url = \"./a/../é\"", "", "file:///etc/lakeport/%C3%A9/crm/"),
        ("url = \"memory:x\"", "", "memory:x/crm/"),
        ("url = \"./out\"", "public-url = \"https://cdn.example/data\"\nroot = \"r\"", "https://cdn.example/data/r/"),
        (
            "url = \"./out\"",
            "public-url = \"abfss://fs@a.dfs.core.windows.net/\"",
            "abfss://fs@a.dfs.core.windows.net/crm/",
        ),
        ("url = \"./out\"", "public-url = \"file:///mnt/lake\"", "file:///mnt/lake/crm/"),
    ] {
        assert_eq!(tables_with(lake, lines, table).public_url, url);
    }
}

#[test]
fn an_export_of_tables_is_no_table_to_look_into() {
    let text = "[sources.s]\nfiles = \"x\"\n[exports.crm]\ntype = \"table\"\nsource = \"s\"\n[exports.crm.tables.a]\n";
    let plan = parse(text).unwrap();
    assert!(plan.tables.is_empty() && !plan.exports[0].keeps_table());
    assert_eq!(plan.exports[0].format.plugin.name, "cdm-csv");
    let settings = |table: &str| parse(&format!("{text}{table}")).unwrap().exports[0].settings.clone();
    assert_ne!(settings(""), settings("link = 2"));
    assert_ne!(settings(""), settings("columns = \"infer\""));
    assert_eq!(settings(""), settings("write = \"in-place\"\npartition = \"year\""));
}

#[test]
fn the_folder_before_a_pattern_is_none() {
    let text = SMALLEST_FILE.replace("\"signals/*.ndjson\"", "[\"./a.ndjson\", \"*.gz\", \"/data/*\"]");
    let plan = super::parse(&text, Path::new("/data [1]/lakeport.toml"), &environment).unwrap();
    let Input::Files(files) = &plan.exports[0].source.input else { panic!() };
    assert_eq!(files, &["/data [1]/a.ndjson", "/data [[]1[]]/*.gz", "/data/*"]);
}

#[test]
fn every_credential_is_understood() {
    let azure = "url = \"https://contoso.dfs.core.windows.net/fs\"\n";
    let client = format!("{azure}tenant-id = \"t\"\nclient-id = \"env:LAKE_KEY\"\nclient-secret = \"env:LAKE_KEY\"");
    let Location::Azure { credential: AzureCredential::ClientSecret { tenant, client, .. }, .. } = lake_with(&client)
    else {
        panic!()
    };
    assert_eq!((tenant.as_str(), client.as_str()), ("t", "hunter2-from-the-environment"));
    assert!(matches!(
        lake_with(&format!("{azure}sas-token = \"env:LAKE_KEY\"\nendpoint = \"http://127.0.0.1:10000/contoso/\"")),
        Location::Azure { credential: AzureCredential::Sas(_), endpoint: Some(endpoint), .. }
            if endpoint == "http://127.0.0.1:10000/contoso"
    ));
    assert!(matches!(
        lake_with(&format!("{azure}managed-identity = true")),
        Location::Azure { credential: AzureCredential::ManagedIdentity, .. }
    ));
    let keys = "url = \"s3://bucket/a\"\naccess-key-id = \"id\"\nsecret-access-key = \"env:LAKE_KEY\"\nsession-token = \"env:LAKE_KEY\"";
    assert!(matches!(
        lake_with(keys),
        Location::S3 { credential: S3Credential::Keys { session_token: Some(_), .. }, region, .. } if region == "us-east-1"
    ));
    assert!(matches!(
        lake_with("url = \"s3://bucket\"\nregion = \"eu-west-1\"\ninstance-role = true"),
        Location::S3 { credential: S3Credential::InstanceRole, region, .. } if region == "eu-west-1"
    ));
    assert!(matches!(
        lake_with("url = \"gs://bucket\"\nservice-account-key = \"env:LAKE_KEY\""),
        Location::Gcs { credential: GcsCredential::ServiceAccountKey(_), .. }
    ));
    assert!(matches!(
        lake_with("url = \"gs://bucket\"\nanonymous = true"),
        Location::Gcs { credential: GcsCredential::Anonymous, .. }
    ));
    assert!(matches!(lake_with("url = \"memory:x\""), Location::Memory(name) if name == "x"));
    assert!(matches!(lake_with("url = \"../x\""), Location::Local(path) if path == Path::new("/etc/lakeport/../x")));
}

#[test]
fn a_built_in_plugin_takes_limits_without_a_path() {
    let text = format!("{SMALLEST_FILE}\n[plugins.ndjson.limits]\nmemory = \"1GiB\"\n");
    assert_eq!(parse(&text).unwrap().exports[0].format.plugin.limits.memory, 1 << 30);
}

#[test]
fn exports_keep_the_files_order_and_share_sources() {
    let text = "[exports.z]\nsource = \"s\"\n[exports.a]\nsource = \"s\"\n[sources.s]\nfiles = [\"x\", \"y\"]\n";
    let plan = parse(text).unwrap();
    assert_eq!(plan.exports.iter().map(|export| export.name.as_str()).collect::<Vec<_>>(), ["z", "a"]);
    assert!(std::sync::Arc::ptr_eq(&plan.exports[0].source, &plan.exports[1].source));
}

#[test]
fn settings_tell_what_changes_output_and_nothing_else() {
    let same = export_with("").settings;
    assert_eq!(export_with("granularity = \"hour\"\nmax-dead-letters = 5").settings, same);
    assert_ne!(export_with("granularity = \"day\"").settings, same);
    assert_ne!(export_with("filters = [{ plugin = \"select\", kinds = [\"a\"] }]").settings, same);
    let nested = export_with("filters = [{ plugin = \"select\", z = 1, a = { y = 1, b = 2 } }]").settings;
    assert!(nested.to_string().contains(r#"{"config":{"a":{"b":2,"y":1},"z":1},"plugin":"select"}"#), "{nested}");
}

#[test]
fn secrets_are_in_no_rendering_of_a_plan() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sas"), "?sv=1&sig=hunter2-from-a-file\n").unwrap();
    let lake = |name: &str, lines: &str| {
        format!("[lakes.{name}]\n{lines}\n[exports.{name}]\nsource = \"s\"\nlake = \"{name}\"\n")
    };
    let azure = "url = \"https://contoso.dfs.core.windows.net/fs\"\n";
    let text = [
        "[sources.s]\nfiles = \"x\"\n".to_owned(),
        lake("key", &format!("{azure}account-key = \"env:LAKE_KEY\"")),
        lake("sas", &format!("{azure}sas-token = \"file:sas\"")),
        lake("client", &format!("{azure}tenant-id = \"t\"\nclient-id = \"c\"\nclient-secret = \"env:LAKE_KEY\"")),
        lake("s3", "url = \"s3://b\"\naccess-key-id = \"i\"\nsecret-access-key = \"env:LAKE_KEY\"\nsession-token = \"env:LAKE_KEY\""),
        lake("gs", "url = \"gs://b\"\nservice-account-key = \"env:LAKE_KEY\""),
    ]
    .concat();
    let plan = super::parse(&text, &folder.path().join("lakeport.toml"), &environment).unwrap();
    let Location::Azure { credential: AzureCredential::Sas(sas), .. } = &plan.exports[1].lake.location else {
        panic!()
    };
    assert_eq!(sas.expose(), "?sv=1&sig=hunter2-from-a-file");
    let mut shown = format!("{plan:?}{plan:#?}");
    for export in &plan.exports {
        shown += &export.settings.to_string();
    }
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_byte_order_mark_and_carriage_returns_change_nothing() {
    let text = format!("\u{feff}{}", SMALLEST_FILE.replace('\n', "\r\n"));
    assert_eq!(parse(&text).unwrap().exports[0].settings, export_with("").settings);
    let error = parse(&text.replace("source =", "sorce =")).unwrap_err();
    assert!(
        error.snippet.unwrap().ends_with("5 | sorce = \"signals\"\n  | ^^^^^"),
        "the line is shown without its end"
    );
}

#[test]
fn a_missing_file_says_what_the_smallest_one_is() {
    let error = load(Path::new("/nowhere/lakeport.toml"), &environment).unwrap_err();
    assert!(error.message.starts_with("cannot read the configuration `/nowhere/lakeport.toml`"), "{error}");
    parse(&error.help.unwrap().split_once(":\n").unwrap().1.replace("    ", "")).unwrap();
}

#[test]
fn a_file_that_is_not_utf_8_names_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lakeport.toml");
    std::fs::write(&path, b"a = 1\nb = \"\xff\"\n").unwrap();
    assert!(load(&path, &environment).unwrap_err().message.ends_with("is not UTF-8: line 2"));
}

const WITH_SECRETS: &str = "[sources.s]\nfiles = \"x\"\n[lakes.main]\nurl = \"https://contoso.dfs.core.windows.net/fs\"\n\
    account-key = \"hunter2\"\nlakes.two = { url = \"s3://b\", session-token = 'hunter2', region = \"r\" }\n\
    sas-token = \"\"\"\nhunter2\"\"\"\nclient-secret= hunter2\n[exports.e]\nsource = \"s\"\n";

proptest::proptest! {
    #[test]
    fn no_slip_of_the_finger_shows_a_secret(at in 0..WITH_SECRETS.len(), slip in "[-a-z\"'=#.,{}\\[\\]\\\\ \n\t]?", lines in 1usize..20) {
        // One character is replaced, added or taken out, and the file may end early.
        let inside = WITH_SECRETS.match_indices("hunter2").any(|(start, secret)| (start..start + secret.len()).contains(&at));
        for rest in if inside { 0..0 } else { at..at + 2 } {
            let text = format!("{}{slip}{}", &WITH_SECRETS[..at], &WITH_SECRETS[rest..]);
            let text: String = text.split_inclusive('\n').take(lines).collect();
            if let Err(error) = parse(&text) {
                proptest::prop_assert!(!error.to_string().contains("hunter2"), "{}\n{}", text, error);
            }
        }
    }

    #[test]
    fn no_text_breaks_the_parser(text in "(\\[(lakes|sources|exports|plugins)\\.[a-z\"]{1,3}\\]|[a-z-]{1,6} ?= ?[0-9\"{}\\[\\]a-z.]{0,9}|\n| |é){0,40}") {
        if let Err(error) = parse(&text) {
            proptest::prop_assert!(error.snippet.is_some() && error.help.is_some(), "{}", error);
        }
    }
}

#[test]
fn several_mistakes_are_told_at_once_and_none_for_what_follows_from_another() {
    let error = parse(
        "[lakes.main]\nurl = \"./lake\"\n[sources.a]\nfile = \"x\"\ntyme = \"/t\"\n[sources.b]\nfiles = \"x\"\n\
         [exports.one]\nsource = \"a\"\n[exports.two]\nsource = \"b\"\ngranularity = \"week\"\n",
    )
    .unwrap_err();
    let messages: Vec<_> = std::iter::once(&error).chain(&error.also).map(|error| error.message.as_str()).collect();
    assert_eq!(messages, ["unknown key `file` in `sources.a`", "unknown key `tyme` in `sources.a`"]);
    let error = parse(
        "[sources.a]\ntime = \"t\"\nfiles = \"x\"\n[sources.b]\nfiles = \"x\"\n\
         [exports.one]\nsource = \"a\"\n[exports.two]\nsource = \"b\"\ngranularity = \"week\"\n",
    )
    .unwrap_err();
    let messages: Vec<_> = std::iter::once(&error).chain(&error.also).map(|error| error.message.as_str()).collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].starts_with("`time`") && messages[1] == "unknown `granularity`: `week`", "{messages:?}");
    assert!(error.to_string().contains("\nerror: unknown `granularity`"), "{error}");
}
