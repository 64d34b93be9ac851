//! One suite for every lake: in memory, a local folder, Azure (Azurite) and S3 (moto). What a lake promises is here; what a
//! store makes of it is not.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lakeport::lake::{Created, Lake, Publish, Staged, Version};
use lakeport::plan::{AzureCredential, GcsCredential, LakePlan, Location, S3Credential};
use lakeport::{Kind, Result};

use crate::support::gcs::FakeGcs;
use crate::support::servers::{AZURITE_ACCOUNT, AZURITE_KEY, Server, account_sas, free_port};

/// Makes the location of lakes that do not exist yet, a new one at each call.
type Factory<'a> = &'a dyn Fn() -> Location;

#[tokio::test]
async fn a_lake_in_memory_conforms() {
    let next = AtomicU32::new(0);
    let new = || Location::Memory(format!("conformance-{}", next.fetch_add(1, Ordering::Relaxed)));
    conforms(&new).await;
}

#[tokio::test]
async fn a_local_lake_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let next = AtomicU32::new(0);
    let new = || Location::Local(folder.path().join(format!("not/there/yet/{}", next.fetch_add(1, Ordering::Relaxed))));
    conforms(&new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_azure_lake_conforms() {
    let azurite = Server::azurite();
    let next = AtomicU32::new(0);
    let new = || azurite_location(&azurite, &format!("lake{}", next.fetch_add(1, Ordering::Relaxed)), "product/hourly");
    conforms(&new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_s3_lake_conforms() {
    let moto = Server::moto();
    let next = AtomicU32::new(0);
    let new = || moto_location(&moto, &format!("lake{}", next.fetch_add(1, Ordering::Relaxed)), "product/hourly");
    conforms(&new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_google_lake_conforms() {
    let gcs = FakeGcs::start("exports");
    let next = AtomicU32::new(0);
    // Buckets are not created there, so the lakes are folders of one.
    let new = || gcs_location(&gcs, "exports", &format!("lake{}", next.fetch_add(1, Ordering::Relaxed)));
    conforms(&new).await;

    let elsewhere = gcs_location(&gcs, "absent", "");
    let reader = Lake::open_read_only(&plan(elsewhere.clone())).await.unwrap();
    assert_eq!(reader.list("").await.unwrap(), []);
    let refused = Lake::open(&plan(elsewhere)).await.unwrap_err();
    assert!(refused.help.as_deref().is_some_and(|help| help.contains("gcloud storage buckets create")), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_access_signature_is_enough_and_stays_out_of_messages() {
    let azurite = Server::azurite();
    let with_sas = |permissions: &str| {
        let mut location = azurite_location(&azurite, "signed", "");
        if let Location::Azure { credential, .. } = &mut location {
            *credential = AzureCredential::Sas(account_sas(permissions, "2099-01-01T00:00:00Z").into());
        }
        plan(location)
    };
    let lake = Lake::open(&with_sas("racwdl")).await.unwrap();
    publishing_is_idempotent(&lake).await;
    a_growing_file_is_replaced_version_by_version(&lake).await;
    deleting_twice_is_fine(&lake).await;

    let reader = Lake::open_read_only(&with_sas("rl")).await.unwrap();
    assert_eq!(keys(&reader, "grow").await, ["grow/00"]);
    let refused = Lake::open(&with_sas("rl")).await.unwrap_err().to_string();
    assert!(refused.starts_with("cannot create `http://127.0.0.1:"), "{refused}");
    assert!(refused.contains("help: check the credential"), "{refused}");
    assert!(!refused.contains("sig=") && !refused.contains("se=2099"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_says_what_to_do() {
    let azurite = Server::azurite();
    let mut location = azurite_location(&azurite, "lake", "");
    if let Location::Azure { credential, .. } = &mut location {
        *credential = AzureCredential::AccountKey("U0VDUkVU".into());
    }
    let refused = Lake::open(&plan(location)).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Lake);
    assert!(refused.help.as_deref().is_some_and(|help| help.contains("check the credential")), "{refused}");
    assert!(!refused.to_string().contains("U0VDUkVU"), "{refused}");
}

#[tokio::test]
async fn an_endpoint_where_nothing_listens_is_reported_soon() {
    let location = Location::S3 {
        bucket: "exports".into(),
        prefix: String::new(),
        region: "us-east-1".into(),
        endpoint: Some(format!("http://127.0.0.1:{}", free_port())),
        credential: S3Credential::Keys { id: "id".into(), secret: "SECRET".into(), session_token: None },
    };
    let begun = std::time::Instant::now();
    let refused = Lake::open(&plan(location)).await.unwrap_err();
    assert!(begun.elapsed().as_secs() < 15, "it took {:?}", begun.elapsed());
    assert_eq!(refused.kind, Kind::Lake);
    assert!(refused.help.as_deref().is_some_and(|help| help.contains("check the lake's URL")), "{refused}");
}

async fn conforms(new: Factory<'_>) {
    reading_creates_nothing_and_finds_nothing(new).await;
    opening_creates_what_is_missing_and_leaves_nothing(new).await;

    let lake = Lake::open(&plan(new())).await.unwrap();
    a_created_object_is_never_replaced(&lake).await;
    one_of_many_creators_wins(&lake).await;
    absent_objects_read_as_none(&lake).await;
    a_range_is_read_whole_or_not_at_all(&lake).await;
    a_version_is_read_until_it_is_replaced(&lake).await;
    keys_are_stored_as_they_are(&lake).await;
    lists_are_sorted_complete_and_of_one_folder(&lake).await;
    staging_keeps_every_byte(&lake).await;
    an_aborted_staging_leaves_nothing(&lake).await;
    staging_again_replaces_what_was_staged(&lake).await;
    publishing_is_idempotent(&lake).await;
    publishing_something_else_is_a_conflict(&lake).await;
    publishing_what_never_was_is_missing(&lake).await;
    many_publishers_of_one_object_all_succeed(&lake).await;
    a_growing_file_is_replaced_version_by_version(&lake).await;
    a_growing_file_that_someone_else_changed_is_a_conflict(&lake).await;
    a_stale_owner_changes_nothing(&lake).await;
    deleting_twice_is_fine(&lake).await;
}

fn plan(location: Location) -> LakePlan {
    LakePlan { name: "main".into(), location, log_folder: "_lakeport".into(), retry_for: Duration::from_secs(60) }
}

fn azurite_location(azurite: &Server, container: &str, prefix: &str) -> Location {
    Location::Azure {
        account: AZURITE_ACCOUNT.into(),
        container: container.into(),
        prefix: prefix.into(),
        endpoint: Some(format!("{}/{AZURITE_ACCOUNT}", azurite.url())),
        credential: AzureCredential::AccountKey(AZURITE_KEY.into()),
    }
}

fn moto_location(moto: &Server, bucket: &str, prefix: &str) -> Location {
    Location::S3 {
        bucket: bucket.into(),
        prefix: prefix.into(),
        region: "eu-central-1".into(),
        endpoint: Some(moto.url()),
        credential: S3Credential::Keys { id: "test".into(), secret: "SECRET".into(), session_token: None },
    }
}

fn gcs_location(gcs: &FakeGcs, bucket: &str, prefix: &str) -> Location {
    Location::Gcs {
        bucket: bucket.into(),
        prefix: prefix.into(),
        endpoint: Some(gcs.url()),
        credential: GcsCredential::Anonymous,
    }
}

// --- the suite -------------------------------------------------------------------------------------------------------

async fn reading_creates_nothing_and_finds_nothing(new: Factory<'_>) {
    let location = new();
    for _ in 0..2 {
        let lake = Lake::open_read_only(&plan(location.clone())).await.unwrap();
        assert_eq!(lake.list("").await.unwrap(), [], "{location:?}");
        assert_eq!(lake.list("_lakeport/signals/p/log").await.unwrap(), []);
        assert_eq!(lake.get("a").await.unwrap(), None);
        assert_eq!(lake.head("a").await.unwrap(), None);
        let refused = lake.create("a", Bytes::new()).await.unwrap_err();
        assert_eq!(refused.kind, Kind::Internal, "{refused}");
    }
    if let Location::Local(folder) = location {
        assert!(!folder.exists(), "`{}` was created by reading", folder.display());
    }
}

async fn opening_creates_what_is_missing_and_leaves_nothing(new: Factory<'_>) {
    let location = new();
    let lake = Lake::open(&plan(location.clone())).await.unwrap();
    assert_eq!(lake.list("").await.unwrap(), []);
    assert_eq!(lake.log_folder(), "_lakeport");
    assert_eq!(lake.is_local(), matches!(location, Location::Local(_)));
    assert!(lake.url("a/b").ends_with("/a/b"), "{}", lake.url("a/b"));
    put(&lake, "kept", b"bytes").await;

    let again = Lake::open(&plan(location.clone())).await.unwrap();
    assert_eq!(again.get("kept").await.unwrap().unwrap().bytes, "bytes");
    let reader = Lake::open_read_only(&plan(location)).await.unwrap();
    assert_eq!(reader.get("kept").await.unwrap().unwrap().bytes, "bytes");
}

async fn a_created_object_is_never_replaced(lake: &Lake) {
    assert_eq!(lake.create("create/0.json", "first".into()).await.unwrap(), Created::Created);
    assert_eq!(lake.create("create/0.json", "second".into()).await.unwrap(), Created::Exists);
    let object = lake.get("create/0.json").await.unwrap().unwrap();
    assert_eq!(object.bytes, "first");
    let meta = lake.head("create/0.json").await.unwrap().unwrap();
    assert_eq!((meta.key.as_str(), meta.size, &meta.version), ("create/0.json", 5, &object.version));
    assert_eq!(lake.create("create/empty", Bytes::new()).await.unwrap(), Created::Created);
    assert_eq!(lake.get("create/empty").await.unwrap().unwrap().bytes, Bytes::new());
}

async fn one_of_many_creators_wins(lake: &Lake) {
    let creators =
        (0..64).map(|i| async move { (i, lake.create("race/slot", format!("creator {i}").into()).await.unwrap()) });
    let outcomes = futures::future::join_all(creators).await;
    let winners: Vec<_> = outcomes.iter().filter(|(_, outcome)| *outcome == Created::Created).collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    let bytes = lake.get("race/slot").await.unwrap().unwrap().bytes;
    assert_eq!(bytes, format!("creator {}", winners[0].0));
}

async fn absent_objects_read_as_none(lake: &Lake) {
    assert_eq!(lake.get("absent/a").await.unwrap(), None);
    assert_eq!(lake.head("absent/a").await.unwrap(), None);
    assert_eq!(lake.list("absent").await.unwrap(), []);
}

async fn a_range_is_read_whole_or_not_at_all(lake: &Lake) {
    let bytes = noise(100_000);
    put(lake, "range/a", &bytes).await;
    for range in [0..1, 0..100_000, 17..4242, 99_999..100_000, 5..5] {
        let expected = &bytes[range.start as usize..range.end as usize];
        assert!(lake.get_range("range/a", range.clone()).await.unwrap().unwrap() == expected, "{range:?}");
    }
    for range in [99_999..100_001, 100_000..100_001, 200_000..200_010] {
        let refused = lake.get_range("range/a", range.clone()).await.unwrap_err();
        assert_eq!(refused.kind, Kind::Lake, "{range:?}: {refused}");
        assert!(refused.message.contains("range/a"), "{range:?}: {refused}");
    }
    assert_eq!(lake.get_range("range/absent", 0..10).await.unwrap(), None);
    assert_eq!(lake.get_range("range/absent", 5..5).await.unwrap(), None);
}

async fn a_version_is_read_until_it_is_replaced(lake: &Lake) {
    lake.replace("versions", "first one".into()).await.unwrap();
    let first = lake.head("versions").await.unwrap().unwrap();
    assert_eq!(lake.get_range_of(&first, 6..9).await.unwrap().unwrap(), "one");
    lake.replace("versions", "another two".into()).await.unwrap();
    assert_eq!(lake.get_range_of(&first, 0..5).await.unwrap(), None);
    let second = lake.head("versions").await.unwrap().unwrap();
    assert_eq!(lake.get_range_of(&second, 8..11).await.unwrap().unwrap(), "two");
    lake.delete("versions").await.unwrap();
    assert_eq!(lake.get_range_of(&second, 0..5).await.unwrap(), None);
}

async fn keys_are_stored_as_they_are(lake: &Lake) {
    let long = "l".repeat(180);
    let odd = [
        "plain",
        "a%2Fb",
        "a%20b",
        "%",
        "%C3%A4rger",
        "%25",
        "a+b",
        "a=b&c",
        "with space",
        "ä",
        "a:b",
        "x%23",
        "~tilde",
        "d%2Fe/f%2F/g",
        long.as_str(),
    ];
    let mut expected: Vec<_> = odd.iter().map(|k| format!("odd/{k}")).collect();
    expected.sort();
    for key in &expected {
        put(lake, key, key.as_bytes()).await;
    }
    for key in &expected {
        assert_eq!(lake.get(key).await.unwrap().unwrap().bytes, key.as_bytes(), "{key}");
        assert_eq!(lake.head(key).await.unwrap().unwrap().key, *key);
        // A copy names its source in a header, which is encoded by other rules.
        let staged = stage(lake, &format!("{key}.staged"), key.as_bytes()).await;
        let to = format!("{key}.copy");
        assert!(published(lake.publish_new(&format!("{key}.staged"), &staged, &to).await), "{key}");
        assert_eq!(lake.get(&to).await.unwrap().unwrap().bytes, key.as_bytes(), "{key}");
        lake.delete(&to).await.unwrap();
        lake.delete(&format!("{key}.staged")).await.unwrap();
    }
    assert_eq!(keys(lake, "odd").await, expected);
    for key in ["../outside", "a/../b", "a/./b", "a//b"] {
        let refused = lake.create(key, Bytes::new()).await.unwrap_err();
        assert_eq!(refused.kind, Kind::Lake, "{refused}");
    }
}

async fn lists_are_sorted_complete_and_of_one_folder(lake: &Lake) {
    use futures::StreamExt;
    // More than one page on every store (S3: 1,000; Azure: 5,000 at most, fewer if it likes).
    let expected: Vec<_> = (0..1203).map(|i| format!("many/log/{i:020}.json")).collect();
    let creates = expected.iter().rev().map(|key| put(lake, key, b"{}"));
    futures::stream::iter(creates).buffer_unordered(32).collect::<Vec<_>>().await;
    put(lake, "many/logs/0", b"").await;
    put(lake, "many/log.json", b"").await;
    assert_eq!(keys(lake, "many/log").await, expected);
    assert_eq!(keys(lake, "many").await.len(), 1205);
    assert!(lake.list("many/log").await.unwrap().iter().all(|meta| meta.size == 2));
    assert_eq!(keys(lake, "many/lo").await, Vec::<String>::new(), "a folder is not a prefix of its name");
}

async fn staging_keeps_every_byte(lake: &Lake) {
    for (size, chunk) in
        [(0, 1), (1, 1), (8 << 20, 1 << 20), ((8 << 20) + 1, 3 << 20), (20 << 20, 1_000_003), (20 << 20, 20 << 20)]
    {
        let bytes = noise(size);
        let mut staging = lake.stage("stage/n/0").await.unwrap();
        for part in bytes.chunks(chunk) {
            staging.write(Bytes::copy_from_slice(part)).await.unwrap();
        }
        let staged = staging.finish().await.unwrap();
        assert_eq!(staged, Staged::of(&bytes), "{size} bytes by {chunk}");
        assert!(lake.get("stage/n/0").await.unwrap().unwrap().bytes == bytes, "{size} bytes by {chunk}");
        let key = format!("staged/{size}-{chunk}");
        assert!(published(lake.publish_new("stage/n/0", &staged, &key).await));
        assert!(lake.get(&key).await.unwrap().unwrap().bytes == bytes, "{size} bytes by {chunk}");
    }
}

async fn an_aborted_staging_leaves_nothing(lake: &Lake) {
    for size in [0, 1, 20 << 20] {
        let mut staging = lake.stage("stage/aborted/0").await.unwrap();
        staging.write(noise(size).into()).await.unwrap();
        staging.abort().await.unwrap();
        assert_eq!(lake.list("stage/aborted").await.unwrap(), []);
        assert_eq!(lake.head("stage/aborted/0").await.unwrap(), None);
    }
}

async fn staging_again_replaces_what_was_staged(lake: &Lake) {
    stage(lake, "stage/again/0", b"first, and longer").await;
    let second = stage(lake, "stage/again/0", b"second").await;
    assert_eq!(lake.get("stage/again/0").await.unwrap().unwrap().bytes, "second");
    assert!(published(lake.publish_new("stage/again/0", &second, "again/0").await));
}

async fn publishing_is_idempotent(lake: &Lake) {
    let staged = stage(lake, "stage/new/0", b"published").await;
    let Publish::Published(version) = lake.publish_new("stage/new/0", &staged, "new/00").await.unwrap() else {
        panic!("the first publishing of a staged object succeeds");
    };
    assert_eq!(lake.head("new/00").await.unwrap().unwrap().version, version);
    assert_eq!(lake.get("new/00").await.unwrap().unwrap().bytes, "published");
    assert_eq!(lake.publish_new("stage/new/0", &staged, "new/00").await.unwrap(), Publish::Published(version.clone()));
    lake.delete("stage/new/0").await.unwrap();
    assert_eq!(lake.publish_new("stage/new/0", &staged, "new/00").await.unwrap(), Publish::Published(version.clone()));
    assert_eq!(lake.publish_over("stage/new/0", &staged, "new/00", None).await.unwrap(), Publish::Published(version));
}

async fn publishing_something_else_is_a_conflict(lake: &Lake) {
    put(lake, "conflict/00", b"theirs").await;
    for mine in [&b"mine!!"[..], b"of another length"] {
        let staged = stage(lake, "stage/conflict/0", mine).await;
        assert_eq!(lake.publish_new("stage/conflict/0", &staged, "conflict/00").await.unwrap(), Publish::Conflict);
        assert_eq!(
            lake.publish_over("stage/conflict/0", &staged, "conflict/00", None).await.unwrap(),
            Publish::Conflict
        );
        lake.delete("stage/conflict/0").await.unwrap();
        assert_eq!(lake.publish_new("stage/conflict/0", &staged, "conflict/00").await.unwrap(), Publish::Conflict);
        assert_eq!(lake.get("conflict/00").await.unwrap().unwrap().bytes, "theirs");
    }
}

async fn publishing_what_never_was_is_missing(lake: &Lake) {
    let staged = Staged::of(b"never staged");
    assert_eq!(lake.publish_new("stage/never/0", &staged, "missing/00").await.unwrap(), Publish::Missing);
    assert_eq!(lake.publish_over("stage/never/0", &staged, "missing/00", None).await.unwrap(), Publish::Missing);
    assert_eq!(lake.head("missing/00").await.unwrap(), None);
}

async fn many_publishers_of_one_object_all_succeed(lake: &Lake) {
    let staged = &stage(lake, "stage/crowd/0", &noise(100_000)).await;
    let publishers = (0..16).map(|_| lake.publish_new("stage/crowd/0", staged, "crowd/00"));
    for outcome in futures::future::join_all(publishers).await {
        assert!(published(outcome));
    }
    assert_eq!(Staged::of(&lake.get("crowd/00").await.unwrap().unwrap().bytes), *staged);
}

async fn a_growing_file_is_replaced_version_by_version(lake: &Lake) {
    let mut expected: Option<Version> = None;
    let mut content = Vec::new();
    let mut versions = HashSet::new();
    for i in 0..4 {
        content.extend_from_slice(format!("line {i}\n").as_bytes());
        let name = format!("stage/grow/{i}");
        let staged = stage(lake, &name, &content).await;
        let Publish::Published(version) =
            lake.publish_over(&name, &staged, "grow/00", expected.as_ref()).await.unwrap()
        else {
            panic!("version {i} is published over the one before");
        };
        assert_eq!(lake.get("grow/00").await.unwrap().unwrap().bytes, content);
        assert_eq!(lake.head("grow/00").await.unwrap().unwrap().version, version);
        // A recovery does it again.
        let again = lake.publish_over(&name, &staged, "grow/00", expected.as_ref()).await.unwrap();
        assert_eq!(again, Publish::Published(version.clone()));
        let name = serde_json::to_string(&version).unwrap();
        assert_eq!(serde_json::from_str::<Version>(&name).unwrap(), version);
        assert!(versions.insert(version.clone()), "version {i} is not a new one");
        expected = Some(version);
    }
}

async fn a_growing_file_that_someone_else_changed_is_a_conflict(lake: &Lake) {
    let first = stage(lake, "stage/edited/0", b"one\n").await;
    let Publish::Published(version) = lake.publish_over("stage/edited/0", &first, "edited/00", None).await.unwrap()
    else {
        panic!("nothing is there yet");
    };
    lake.delete("edited/00").await.unwrap();
    let second = stage(lake, "stage/edited/1", b"one\ntwo\n").await;
    let outcome = lake.publish_over("stage/edited/1", &second, "edited/00", Some(&version)).await.unwrap();
    assert_eq!(outcome, Publish::Conflict, "deleted by someone");
    put(lake, "edited/00", b"theirs").await;
    let outcome = lake.publish_over("stage/edited/1", &second, "edited/00", Some(&version)).await.unwrap();
    assert_eq!(outcome, Publish::Conflict, "replaced by someone");
    assert_eq!(lake.get("edited/00").await.unwrap().unwrap().bytes, "theirs");
}

async fn a_stale_owner_changes_nothing(lake: &Lake) {
    let first = stage(lake, "stage/stale/0", b"one\n").await;
    let second = stage(lake, "stage/stale/1", b"one\ntwo\n").await;
    let Publish::Published(one) = lake.publish_over("stage/stale/0", &first, "stale/00", None).await.unwrap() else {
        panic!("nothing is there yet");
    };
    assert!(published(lake.publish_over("stage/stale/1", &second, "stale/00", Some(&one)).await));
    // The owner that was overtaken wakes up, between its commit and its publishing.
    assert_eq!(lake.publish_over("stage/stale/0", &first, "stale/00", None).await.unwrap(), Publish::Conflict);
    assert!(published(lake.publish_over("stage/stale/1", &second, "stale/00", Some(&one)).await));
    assert_eq!(lake.get("stale/00").await.unwrap().unwrap().bytes, "one\ntwo\n");
}

async fn deleting_twice_is_fine(lake: &Lake) {
    put(lake, "delete/a", b"").await;
    lake.delete("delete/a").await.unwrap();
    lake.delete("delete/a").await.unwrap();
    assert_eq!(lake.get("delete/a").await.unwrap(), None);
    assert_eq!(lake.create("delete/a", "new".into()).await.unwrap(), Created::Created);
}

// --- helpers ---------------------------------------------------------------------------------------------------------

async fn put(lake: &Lake, key: &str, bytes: &[u8]) {
    let created = lake.create(key, Bytes::copy_from_slice(bytes)).await;
    assert_eq!(created.unwrap_or_else(|e| panic!("`{key}`: {e}")), Created::Created, "{key}");
}

async fn stage(lake: &Lake, key: &str, bytes: &[u8]) -> Staged {
    let mut staging = lake.stage(key).await.unwrap();
    staging.write(Bytes::copy_from_slice(bytes)).await.unwrap();
    staging.finish().await.unwrap()
}

async fn keys(lake: &Lake, prefix: &str) -> Vec<String> {
    lake.list(prefix).await.unwrap().into_iter().map(|meta| meta.key).collect()
}

fn published(outcome: Result<Publish>) -> bool {
    matches!(outcome.unwrap(), Publish::Published(_))
}

/// Bytes that repeat nowhere near each other.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}
