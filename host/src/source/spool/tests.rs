use super::*;
use std::io::Read as _;

const WAIT: Duration = Duration::from_secs(5);

fn open(folder: &Path, run: &str, input: &'static str, from: &Position) -> Spool {
    // The thread of a reader before may still be about to end.
    loop {
        match Spool::open(folder, input.as_bytes(), from, options(run)) {
            Err(error) if error.message.ends_with("is used by another run") => thread::yield_now(),
            spool => return spool.unwrap(),
        }
    }
}

fn options(run: &str) -> ReadOptions {
    ReadOptions { follow: false, live: Arc::default(), run: run_id(run), longest: 1 << 20 }
}

/// A run's ID, as the host makes them, that begins with `run`.
fn run_id(run: &str) -> String {
    format!("{run:0<32}")
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
            Read::Reached | Read::Commit => {}
            Read::Idle => panic!("the input has ended"),
        }
    }
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != ".lakeport-spool");
    names.sort();
    names
}

#[test]
fn what_is_committed_leaves_the_spool() {
    let folder = tempfile::tempdir().unwrap();
    let mut position = Position::default();
    let mut spool = open(folder.path(), "a1", "{\"n\":1}\n{\"n\":2}", &position);
    assert_eq!(drain(&mut spool, &mut position), "{\"n\":1}\n{\"n\":2}");
    assert_eq!(files(folder.path()), [format!("{}-000000.ndjson", run_id("a1"))]);
    spool.committed(&position).unwrap();
    assert!(files(folder.path()).is_empty());
}

#[test]
fn what_a_run_left_is_exported_by_the_next_one_first_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = open(folder.path(), "a1", "{\"n\":1}\n{\"n\":2}", &Position::default());
    let Read::Chunk(chunk) = first.read(WAIT).unwrap() else { panic!("no chunk") };
    let Read::Chunk(_) = first.read(WAIT).unwrap() else { panic!("no second chunk") };
    drop(first);
    // Only the first line was committed.
    let mut position = Position::default();
    position.advance(&chunk.extent);
    let mut second = open(folder.path(), "a2", "{\"n\":3}\n", &position);
    assert_eq!(drain(&mut second, &mut position), "{\"n\":2}{\"n\":3}\n");
    second.committed(&position).unwrap();
    assert!(files(folder.path()).is_empty());
    drop(second);
    assert_eq!(drain(&mut open(folder.path(), "a3", "", &position), &mut position), "");
}

#[test]
fn what_is_not_committed_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut position = Position::default();
    let mut spool = open(folder.path(), "a1", "one\ntwo", &position);
    let Read::Chunk(chunk) = spool.read(WAIT).unwrap() else { panic!("no chunk") };
    position.advance(&chunk.extent);
    spool.read(WAIT).unwrap();
    spool.committed(&position).unwrap();
    assert_eq!(files(folder.path()), [format!("{}-000000.ndjson", run_id("a1"))]);
}

#[test]
fn runs_with_the_same_id_use_files_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut position = Position::default();
    drain(&mut open(folder.path(), "a", "one\n", &position), &mut position);
    assert_eq!(drain(&mut open(folder.path(), "a", "two\n", &position), &mut position), "two\n");
    assert_eq!(files(folder.path()), [0, 1].map(|n| format!("{}-{n:06}.ndjson", run_id("a"))));
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
    position.advance(&Extent::new(Arc::new(origin), 0, 2));
    open(folder.path(), "a", "", &position).committed(&position).unwrap();
    assert!(path.exists());
}

#[test]
fn a_spool_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "").unwrap();
    let error = Spool::open(&path, io::empty(), &Position::default(), options("a")).err().unwrap();
    assert!(error.message.starts_with("cannot keep standard input in the spool: `"), "{}", error.message);
}

#[test]
fn a_folder_of_other_files_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.ndjson"), "{\"n\":1}\n").unwrap();
    let error = Spool::open(folder.path(), io::empty(), &Position::default(), options("a")).err().unwrap();
    assert!(error.message.ends_with("` is not a spool: it holds `mine.ndjson`"), "{}", error.message);
    assert_eq!(files(folder.path()), ["mine.ndjson"]);
    assert!(!folder.path().join(".lakeport-spool").exists());
}

#[test]
fn files_that_others_put_into_a_spool_are_neither_read_nor_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let mut position = Position::default();
    drop(open(folder.path(), "a1", "", &position));
    fs::create_dir(folder.path().join("below")).unwrap();
    let names = ["mine.ndjson".to_owned(), format!("below/{}-000000.ndjson", run_id("b"))];
    names.iter().for_each(|name| fs::write(folder.path().join(name), "{\"n\":1}\n").unwrap());
    let linked = folder.path().join(format!("{}-000000.ndjson", run_id("c")));
    std::os::unix::fs::symlink(folder.path().join("mine.ndjson"), &linked).unwrap();
    let mut spool = open(folder.path(), "a2", "", &position);
    assert_eq!(drain(&mut spool, &mut position), "");
    spool.committed(&position).unwrap();
    assert!(linked.exists() && names.iter().all(|name| folder.path().join(name).exists()));
}

#[test]
fn a_spool_of_an_earlier_version_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(format!("{}-000000.ndjson", run_id("b"))), "{\"n\":1}\n").unwrap();
    let mut position = Position::default();
    assert_eq!(drain(&mut open(folder.path(), "a", "{\"n\":2}\n", &position), &mut position), "{\"n\":1}\n{\"n\":2}\n");
}

#[test]
fn a_spool_has_one_user_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(folder.path(), "a1", "", &Position::default());
    let error = Spool::open(folder.path(), io::empty(), &Position::default(), options("a2")).err().unwrap();
    assert!(error.message.ends_with("` is used by another run"), "{}", error.message);
}

#[test]
fn what_was_taken_off_the_stream_is_in_the_spool_before_anybody_asks_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, mut writer) = io::pipe().unwrap();
    let spool = Spool::open(folder.path(), reader, &Position::default(), options("a1")).unwrap();
    io::Write::write_all(&mut writer, b"{\"n\":1}\n{\"n\":2}\n{\"n\":").unwrap();
    // Never read from, as in a run that was killed.
    let path = folder.path().join(format!("{}-000000.ndjson", run_id("a1")));
    while fs::read(&path).unwrap_or_default().len() < 21 {
        thread::yield_now();
    }
    drop((writer, spool));
    let mut position = Position::default();
    let mut next = open(folder.path(), "a2", "", &position);
    assert_eq!(drain(&mut next, &mut position), "{\"n\":1}\n{\"n\":2}\n{\"n\":");
}

#[test]
fn a_line_without_an_end_does_not_fill_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let long = [vec![b'x'; 3 << 20], b"\n{\"n\":1}\n".to_vec()].concat();
    let mut position = Position::default();
    let mut spool = Spool::open(folder.path(), io::Cursor::new(long), &position, options("a1")).unwrap();
    let Read::Chunk(chunk) = spool.read(WAIT).unwrap() else { panic!("no chunk") };
    assert_eq!((chunk.data.len(), chunk.extent.dropped), ((1 << 20) + 1, 2 << 20));
    position.advance(&chunk.extent);
    let size = fs::metadata(Path::new(&*chunk.extent.origin.name)).unwrap().len();
    assert!(size < 2 << 20, "{size}");
    drop(spool);
    assert_eq!(drain(&mut open(folder.path(), "a2", "", &position), &mut position), "{\"n\":1}\n");
}
