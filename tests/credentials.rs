//! Credentials that change while they are used, and those that are never taken.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta, Utc};
use lakeport::lake::{Created, Lake};
use lakeport::plan::{AzureCredential, LakePlan, Location, Secret};

use crate::support::gcs::FakeGcs;
use crate::support::lake_folder::{Installation, signals};
use crate::support::servers::{AZURITE_ACCOUNT, Server, account_sas};

/// A signature that is valid for so many seconds.
fn sas(seconds: i64) -> String {
    #[expect(clippy::disallowed_methods, reason = "Azurite looks at the clock")]
    let expiry = Utc::now() + TimeDelta::seconds(seconds);
    account_sas("racwdl", &expiry.to_rfc3339_opts(SecondsFormat::Secs, true))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_signature_that_is_replaced_in_its_file_goes_on() {
    let azurite = Server::azurite();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sas");
    fs::write(&file, sas(600) + "\n").unwrap();
    let location = Location::Azure {
        account: AZURITE_ACCOUNT.into(),
        container: "exports".into(),
        prefix: String::new(),
        endpoint: Some(format!("{}/{AZURITE_ACCOUNT}", azurite.url())),
        credential: AzureCredential::Sas(Secret::in_file(file.clone()).unwrap()),
    };
    let retry_for = Duration::from_secs(60);
    let plan = LakePlan { name: "main".into(), location, log_folder: "_lakeport".into(), retry_for };
    Lake::open(&plan).await.unwrap();

    // What is in the file now counts, not what was there when the configuration was read.
    fs::write(&file, sas(15)).unwrap();
    let lake = Lake::open(&plan).await.unwrap();
    assert_eq!(lake.create("first", "1".into()).await.unwrap(), Created::Created);
    tokio::time::sleep(Duration::from_secs(17)).await;
    let refused = lake.create("second", "2".into()).await.unwrap_err().to_string();
    assert!(refused.contains("help: check the credential") && !refused.contains("sig="), "{refused}");

    fs::write(&file, "no signature").unwrap();
    let refused = lake.create("second", "2".into()).await.unwrap_err().to_string();
    assert!(refused.contains("help: check the credential") && !refused.contains("no signature"), "{refused}");

    fs::write(&file, sas(600)).unwrap();
    assert_eq!(lake.create("second", "2".into()).await.unwrap(), Created::Created, "at once");
    lake.delete("first").await.unwrap();
    assert_eq!(lake.list("").await.unwrap().len(), 1);
}

/// A metadata server that grants one token.
fn metadata_server(token: &'static str) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let lines = BufReader::new(&stream).lines();
            let end = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).count();
            assert!(end > 0);
            let body = format!(r#"{{"access_token":"{token}","expires_in":3600,"token_type":"Bearer"}}"#);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            (&stream).write_all((head + &body).as_bytes()).unwrap();
        }
    });
    address
}

#[test]
fn an_instance_account_is_the_instances_and_never_the_users() {
    let gcs = FakeGcs::start_for("exports", Some("of-the-instance"));
    let installation = Installation::new(&format!(
        "[lakes.main]\nurl = \"gs://exports/product/\"\nendpoint = \"{}\"\ninstance-account = true\n\
         [sources.s]\nfiles = \"in.ndjson\"\n[exports.e]\nsource = \"s\"\n",
        gcs.url()
    ));
    installation.write("in.ndjson", signals(10));
    // One that works, and would ask Google for a token; and one that cannot be read at all.
    let user = r#"{"type":"authorized_user","client_id":"c","client_secret":"s","refresh_token":"r"}"#;
    for credentials in [user, "broken"] {
        installation.write("home/.config/gcloud/application_default_credentials.json", credentials);
        let mut command = installation.command(&["run", "--json"]);
        command.env("HOME", installation.path().join("home"));
        command.env("GCE_METADATA_HOST", metadata_server("of-the-instance"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut command = installation.command(&["run"]);
    command.env("GCE_METADATA_HOST", metadata_server("of-somebody-else"));
    let output = command.output().unwrap();
    let refused = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{refused}");
    assert!(refused.contains("401 Unauthorized") && refused.contains("check the credential"), "{refused}");
    assert!(!refused.contains("of-somebody-else"), "{refused}");
}

#[test]
fn a_malformed_account_key_is_named_by_check_and_not_shown() {
    let installation = Installation::new(
        "[lakes.main]\nurl = \"abfss://exports@contoso.dfs.core.windows.net/\"\naccount-key = \"env:LAKE_KEY\"\n\
         [sources.s]\nfiles = \"in.ndjson\"\n[exports.e]\nsource = \"s\"\n",
    );
    installation.write("in.ndjson", signals(1));
    let mut command = installation.command(&["check"]);
    let output = command.env("LAKE_KEY", "not a key!").output().unwrap();
    let refused = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{refused}");
    let url = "abfss://exports@contoso.dfs.core.windows.net/";
    assert!(refused.contains(&format!("the account key of `{url}` is malformed: expected base64")), "{refused}");
    assert!(refused.contains("help: copy the whole key") && !refused.contains("not a key"), "{refused}");
}
