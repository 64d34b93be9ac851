//! A period that is exported again in stores.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use super::{AGAIN, configure, divided, expected, input};
use crate::support::lake_folder::{Installation, ids_of};
use crate::support::stores::{Store, visible};

/// Exports an hour again into a store, killed and not.
async fn again_in(store: &Store) {
    for (name, mode) in [("growing", ""), ("rolling", "files = \"rolling\"\n"), ("sealed", "files = \"sealed\"\n")] {
        let bucket = format!("period-{name}");
        let installation = Installation::new("");
        let configured = |is_fixed: bool| {
            configure(&installation, is_fixed, mode);
            let path = installation.path().join("lakeport.toml");
            let lake = store.lake(&store.url(), &bucket);
            let configuration = fs::read_to_string(&path).unwrap();
            fs::write(&path, format!("[lakes.main]\n{lake}\n{configuration}")).unwrap();
        };
        let run = |arguments: &[&str], point: &str| {
            let mut command = installation.command(arguments);
            command.env("LAKE_KEY", store.secret());
            if !point.is_empty() {
                command.env("LAKEPORT_FAIL_POINT", point);
            }
            let output = command.output().unwrap();
            let is_killed = output.status.signal() == Some(libc::SIGKILL);
            assert!(output.status.success() || is_killed, "{name}: {}", String::from_utf8_lossy(&output.stderr));
        };
        configured(false);
        installation.write("in/a.ndjson", input());
        run(&["run"], "");
        let (old, others) = divided(visible(&store.objects(&bucket).await));
        assert!(ids_of(old.clone()) == expected(false), "{name}");
        configured(true);
        for point in ["again-replace:1", "again-replaced:1", ""] {
            run(&AGAIN, point);
            run(&["run"], "");
            let (hour, same) = divided(visible(&store.objects(&bucket).await));
            assert!(same == others, "{name}, {point}: another hour has changed");
            assert!(ids_of(hour) == expected(point != "again-replace:1"), "{name}, {point}");
        }
        let left = store.objects(&bucket).await;
        assert!(!left.keys().any(|key| key.contains("/again/")), "{name}: something is left behind");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_is_exported_again_in_azure() {
    again_in(&Store::azure()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_is_exported_again_in_s3() {
    again_in(&Store::s3()).await;
}
