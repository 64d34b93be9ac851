use super::*;
use std::io::Read as _;

const WAIT: Duration = Duration::from_secs(5);

fn open(folder: &Path, run: &str, input: &'static str, from: &Position) -> Spool {
    let options = ReadOptions { follow: false, live: Arc::default(), run: run.into() };
    Spool::open(folder, Stdin::new(input.as_bytes(), run), from, options).unwrap()
}

/// Everything up to the end, and the position after it.
fn drain(spool: &mut Spool, position: &mut Position) -> String {
    let mut text = String::new();
    loop {
        match spool.read(WAIT).unwrap() {
            Read::Chunk(chunk) => {
                position.advance(&chunk.extent);
                (&chunk.data[..]).read_to_string(&mut text).unwrap();
            }
            Read::End => return text,
            Read::Reached => {}
            Read::Idle => panic!("the input has ended"),
        }
    }
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_committed_leaves_the_spool() {
    let folder = tempfile::tempdir().unwrap();
    let mut position = Position::default();
    let mut spool = open(folder.path(), "r1", "{\"n\":1}\n{\"n\":2}", &position);
    assert_eq!(drain(&mut spool, &mut position), "{\"n\":1}\n{\"n\":2}");
    assert_eq!(files(folder.path()), ["r1-000000.ndjson"]);
    spool.committed(&position).unwrap();
    assert!(files(folder.path()).is_empty());
}

#[test]
fn what_a_run_left_is_exported_by_the_next_one_first_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = open(folder.path(), "r1", "{\"n\":1}\n{\"n\":2}", &Position::default());
    let Read::Chunk(chunk) = first.read(WAIT).unwrap() else { panic!("no chunk") };
    let Read::Chunk(_) = first.read(WAIT).unwrap() else { panic!("no second chunk") };
    drop(first);
    // Only the first line was committed.
    let mut position = Position::default();
    position.advance(&chunk.extent);
    let mut second = open(folder.path(), "r2", "{\"n\":3}\n", &position);
    assert_eq!(drain(&mut second, &mut position), "{\"n\":2}{\"n\":3}\n");
    second.committed(&position).unwrap();
    assert!(files(folder.path()).is_empty());
    assert_eq!(drain(&mut open(folder.path(), "r3", "", &position), &mut position), "");
}

#[test]
fn what_is_not_committed_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut position = Position::default();
    let mut spool = open(folder.path(), "r1", "one\ntwo", &position);
    let Read::Chunk(chunk) = spool.read(WAIT).unwrap() else { panic!("no chunk") };
    position.advance(&chunk.extent);
    spool.read(WAIT).unwrap();
    spool.committed(&position).unwrap();
    assert_eq!(files(folder.path()), ["r1-000000.ndjson"]);
}

#[test]
fn runs_with_the_same_id_use_files_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut position = Position::default();
    drain(&mut open(folder.path(), "r", "one\n", &position), &mut position);
    assert_eq!(drain(&mut open(folder.path(), "r", "two\n", &position), &mut position), "two\n");
    assert_eq!(files(folder.path()), ["r-000000.ndjson", "r-000001.ndjson"]);
}

#[test]
fn other_files_are_never_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let path = other.path().join("data");
    fs::write(&path, "x\n").unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    let origin = Origin { name: path.to_string_lossy().into(), inode, hashed: 0, hash: String::new() };
    let mut position = Position::default();
    position.advance(&Extent { origin: Arc::new(origin), first: 0, next: 2, dropped: 0 });
    open(folder.path(), "r", "", &position).committed(&position).unwrap();
    assert!(path.exists());
}

#[test]
fn a_spool_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "").unwrap();
    let options = ReadOptions { follow: false, live: Arc::default(), run: "r".into() };
    let error = Spool::open(&path, Stdin::new(io::empty(), "r"), &Position::default(), options).err().unwrap();
    assert!(error.message.starts_with("cannot keep standard input in the spool: `"), "{}", error.message);
}
