//! What only a folder can show: names on the disk, what killed processes leave, file systems that refuse.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use lakeport::Kind;
use lakeport::lake::{Created, Lake, Publish};
use lakeport::plan::{LakePlan, Location};

fn plan(folder: &Path) -> LakePlan {
    LakePlan {
        name: "main".into(),
        location: Location::Local(folder.to_owned()),
        log_folder: "_lakeport".into(),
        retry_for: Duration::from_secs(60),
    }
}

#[tokio::test]
async fn a_key_is_its_file_name() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open(&plan(folder.path())).await.unwrap();
    for key in ["signals/a%2Fb.ndjson", "signals/%", "signals/100%25"] {
        assert_eq!(lake.create(key, "x".into()).await.unwrap(), Created::Created);
        assert_eq!(fs::read(folder.path().join(key)).unwrap(), b"x", "{key}");
    }
    fs::write(folder.path().join("signals/by%20hand"), "y").unwrap();
    let keys: Vec<_> = lake.list("signals").await.unwrap().into_iter().map(|meta| meta.key).collect();
    assert_eq!(keys, ["signals/%", "signals/100%25", "signals/a%2Fb.ndjson", "signals/by%20hand"]);
}

#[tokio::test]
async fn publishing_moves_the_staged_file() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open(&plan(folder.path())).await.unwrap();
    let mut staging = lake.stage("_lakeport/e/stage/n/0").await.unwrap();
    staging.write("bytes".into()).await.unwrap();
    let staged = staging.finish().await.unwrap();
    let Publish::Published(_) = lake.publish_new("_lakeport/e/stage/n/0", &staged, "a/b/00").await.unwrap() else {
        panic!("nothing stands in the way");
    };
    assert_eq!(files(folder.path()), ["a/b/00"]);
    assert!(!folder.path().join("_lakeport/e/stage/n").exists(), "empty folders of attempts would pile up");
}

#[tokio::test]
async fn a_publishing_that_was_killed_between_link_and_unlink_is_completed() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open(&plan(folder.path())).await.unwrap();
    for over in [false, true] {
        let (name, key) = (format!("_lakeport/e/stage/n/{over}"), format!("{over}"));
        let mut staging = lake.stage(&name).await.unwrap();
        staging.write("bytes".into()).await.unwrap();
        let staged = staging.finish().await.unwrap();
        fs::hard_link(folder.path().join(&name), folder.path().join(&key)).unwrap();
        let version = lake.head(&key).await.unwrap().unwrap().version;
        let outcome = match over {
            false => lake.publish_new(&name, &staged, &key).await.unwrap(),
            true => lake.publish_over(&name, &staged, &key, Some(&version)).await.unwrap(),
        };
        assert_eq!(outcome, Publish::Published(version));
        assert!(!folder.path().join(&name).exists(), "the staged name is gone");
        assert_eq!(fs::read(folder.path().join(&key)).unwrap(), b"bytes");
    }
}

#[tokio::test]
async fn staging_again_leaves_what_was_published_alone() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open(&plan(folder.path())).await.unwrap();
    let mut staging = lake.stage("stage/0").await.unwrap();
    staging.write("published".into()).await.unwrap();
    staging.finish().await.unwrap();
    fs::hard_link(folder.path().join("stage/0"), folder.path().join("00")).unwrap();
    let mut again = lake.stage("stage/0").await.unwrap();
    again.write("other".into()).await.unwrap();
    again.finish().await.unwrap();
    assert_eq!(fs::read(folder.path().join("00")).unwrap(), b"published");
}

#[tokio::test]
async fn a_staging_that_failed_fails_again_and_can_be_aborted() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open(&plan(folder.path())).await.unwrap();
    fs::write(folder.path().join("blocked"), "a file where a folder is needed").unwrap();
    for abort in [true, false] {
        let mut staging = lake.stage("blocked/0").await.unwrap();
        for _ in 0..2 {
            let refused = staging.write(vec![0; 2 << 20].into()).await.unwrap_err();
            assert_eq!(refused.kind, Kind::Lake);
            assert!(refused.message.contains("blocked/0"), "{refused}");
        }
        match abort {
            true => staging.abort().await.unwrap(),
            false => assert_eq!(staging.finish().await.unwrap_err().kind, Kind::Lake),
        }
    }
    assert_eq!(files(folder.path()), ["blocked"]);
}

#[tokio::test]
async fn what_killed_creates_left_is_hidden_and_swept_when_it_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open(&plan(folder.path())).await.unwrap();
    let temporary = folder.path().join("_lakeport/tmp");
    let [old, new] = ["dead-0#1", "alive-0#1"].map(|name| temporary.join(name));
    for file in [&old, &new] {
        fs::write(file, "half").unwrap();
    }
    #[expect(clippy::disallowed_methods, reason = "files have the file system's own clock")]
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    fs::File::options().write(true).open(&old).unwrap().set_modified(yesterday).unwrap();
    assert_eq!(lake.list("").await.unwrap(), []);
    Lake::open(&plan(folder.path())).await.unwrap();
    assert!(!old.exists() && new.exists());
}

#[tokio::test]
async fn a_file_where_the_lake_should_be_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lake");
    fs::write(&file, "").unwrap();
    for refused in [Lake::open(&plan(&file)).await.unwrap_err(), Lake::open_read_only(&plan(&file)).await.unwrap_err()]
    {
        assert_eq!(refused.kind, Kind::Lake);
        assert!(refused.message.contains(&file.display().to_string()), "{refused}");
        assert!(refused.help.is_some(), "{refused}");
    }
}

#[tokio::test]
async fn a_name_that_the_store_keeps_for_itself_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open(&plan(folder.path())).await.unwrap();
    let refused = lake.create("signals/00#1", Bytes::new()).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Lake);
    assert!(refused.message.contains("signals/00#1"), "{refused}");
}

#[tokio::test]
async fn creating_many_files_in_new_folders_at_once_works_while_others_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open(&plan(folder.path())).await.unwrap();
    let churn = (0..8).map(|i| {
        let lake = lake.clone();
        tokio::spawn(async move {
            for round in 0..100 {
                let key = format!("deep/er/{i}-{round}");
                assert_eq!(lake.create(&key, "x".into()).await.unwrap(), Created::Created);
                lake.delete(&key).await.unwrap();
            }
        })
    });
    for task in futures::future::join_all(churn).await {
        task.unwrap();
    }
    assert_eq!(lake.list("deep").await.unwrap(), []);
}

/// Every file below `folder`, without those in `tmp`.
fn files(folder: &Path) -> Vec<String> {
    let mut found: Vec<_> = glob::glob(&format!("{}/**/*", folder.display()))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|path| path.is_file())
        .map(|path| path.strip_prefix(folder).unwrap().display().to_string())
        .collect();
    found.sort();
    found
}
