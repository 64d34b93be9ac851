//! What cannot be read, and what is said of it.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn errors_name_the_path_and_the_reason() {
    let world = World::new(&[("locked", b"x\n")]);
    assert_eq!(world.error("missing"), "`/missing` does not exist");
    assert_eq!(world.error("*.nothing"), "nothing matches `/*.nothing`");
    assert_eq!(
        world.error("***"),
        "`/***` is no glob: wildcards are either regular `*` or recursive `**` at character 3"
            .replace("3", &(world.folder.path().to_str().unwrap().len() + 4).to_string())
    );
    let _socket = std::os::unix::net::UnixListener::bind(world.path("sock")).unwrap();
    assert_eq!(world.error("sock"), "`/sock` is a socket, expected a file, a folder or a glob");
    fs::set_permissions(world.path("locked"), fs::Permissions::from_mode(0o000)).unwrap();
    // A superuser may read everything.
    if File::open(world.path("locked")).is_err() {
        assert_eq!(world.error("locked"), "cannot read `/locked`: permission denied");
    }
}

#[test]
fn too_many_open_files_says_which_limit_to_raise() {
    let error = unreadable(Path::new("/in/a"), &io::Error::from_raw_os_error(libc::EMFILE));
    assert_eq!(error.message, "cannot read `/in/a`: too many open files");
    assert_eq!(error.help.as_deref(), Some("raise the limit with `ulimit -n`"));
}

#[test]
fn what_is_no_file_below_a_folder_is_skipped_with_a_warning() {
    let mut world = World::new(&[("f", b"f\n")]);
    let _socket = std::os::unix::net::UnixListener::bind(world.path("sock")).unwrap();
    assert_eq!(pairs(&world.run()), [("f", "f\n")]);
    assert_eq!(world.warnings(), ["skipped: `sock` is a socket, expected a file, a folder or a glob"]);
}

#[test]
fn a_file_that_vanishes_before_it_is_opened_is_a_warning() {
    let mut world = World::new(&[("a", b"a\n"), ("b", b"b\n"), ("c", b"c\n")]);
    let mut reader = world.reader("", false);
    assert!(matches!(reader.read(Duration::ZERO).unwrap(), Read::Chunk(_)));
    fs::remove_file(world.path("b")).unwrap();
    assert_eq!(pairs(&world.drain(&mut reader)), [("c", "c\n")]);
    assert_eq!(world.warnings(), ["`b` vanished before it was read"]);
}
