//! Files as they are named, linked, rotated and added: every record of them comes out once.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::Duration;

use crate::lines::{SOON, append, ids, once, records};
use crate::support::lake_folder::{Installation, ids_of, signal, visible_files};
use crate::support::process::{Following, wait_until};

#[test]
fn rotation_by_renaming_loses_and_doubles_nothing_while_following() {
    // Both where the old file stays in the source, and where it leaves it.
    for (files, old) in
        [("logs/*", "logs/app.ndjson.1"), ("logs/app.ndjson", "logs/app.ndjson.1"), ("logs", "old.ndjson")]
    {
        let installation = Installation::exporting(files, SOON);
        installation.write("logs/app.ndjson", records(0..5));
        let path = installation.path().join("logs/app.ndjson");
        let following = Following::start(&installation);
        wait_until("the first lines are exported", || ids(&installation) == once(0..5));
        following.wait_for(&path);

        // The writer goes on with the old file until it is told to open the new one.
        let mut writer = OpenOptions::new().append(true).open(&path).unwrap();
        fs::rename(&path, installation.path().join(old)).unwrap();
        writer.write_all(&records(5..8)).unwrap();
        append(&path, records(8..11));
        wait_until(&format!("{files}: both files are exported"), || ids(&installation) == once(0..11));
        append(&path, records(11..12));
        wait_until(&format!("{files}: the new file is followed"), || ids(&installation) == once(0..12));
        following.stop();
        installation.run_ok(&["run"]);
        assert_eq!(ids(&installation), once(0..12), "{files}: a later run finds nothing new");
    }
}

#[test]
fn rotation_between_runs_loses_and_doubles_nothing() {
    let installation = Installation::exporting("logs", "");
    let log = |number: usize| installation.path().join(format!("logs/app.{number}"));
    installation.write("logs/app.0", records(0..5));
    installation.run_ok(&["run"]);
    for round in 1..4 {
        for number in (0..round).rev() {
            fs::rename(log(number), log(number + 1)).unwrap();
        }
        append(log(1), records([round * 10]));
        append(log(0), records([round * 10 + 1]));
        installation.run_ok(&["run"]);
    }
    assert_eq!(ids(&installation), once((0..5).chain([10, 11, 20, 21, 30, 31])));
}

#[test]
fn files_that_are_added_while_following_are_exported() {
    let installation = Installation::new(&format!(
        "[sources.signals]\nfiles = [\"folder\", \"glob/*.ndjson\", \"later.ndjson\"]\n\
         [exports.signals]\nsource = \"signals\"\n{SOON}\n"
    ));
    let following = Following::start(&installation);
    let mut expected = Vec::new();
    for (id, file) in ["folder/a", "folder/deep/er/b.gz", "glob/c.ndjson", "later.ndjson"].into_iter().enumerate() {
        installation.write(file, records([id]));
        expected.push((id, 1));
        wait_until(&format!("{file} is exported"), || ids(&installation) == expected);
    }
    following.stop();
}

#[test]
fn files_folders_and_globs_are_each_read_once() {
    let installation = Installation::new(
        "[sources.signals]\nfiles = [\"one.ndjson\", \"./one.ndjson\", \"folder/\", \"glob/*/[ab]?.ndjson\"]\n\
         [exports.signals]\nsource = \"signals\"\n",
    );
    for (id, file) in [
        "one.ndjson",
        "folder/a.txt",
        "folder/deep/er/b",
        "folder/with space and ü.ndjson",
        "glob/x/a1.ndjson",
        "glob/y/b2.ndjson",
    ]
    .into_iter()
    .enumerate()
    {
        installation.write(file, records([id]));
    }
    for file in
        ["two.ndjson", "folder/.hidden", "folder/.git/x", "glob/a1.ndjson", "glob/x/c1.ndjson", "glob/x/deep/a1.ndjson"]
    {
        installation.write(file, records([99]));
    }
    installation.run_ok(&["run"]);
    assert_eq!(ids(&installation), once(0..6));
}

#[test]
fn a_line_whose_halves_are_on_both_sides_of_a_rotation_is_one_record() {
    let installation = Installation::exporting("live.ndjson", SOON);
    let line = |id: usize| signal(id, id).replace("BrewStarted", "Gebräu");
    let path = installation.path().join("live.ndjson");
    let open = || OpenOptions::new().create(true).append(true).open(&path).unwrap();
    let following = Following::start(&installation);

    // The first half ends inside of a letter.
    let half = line(1).find('ä').unwrap() + 1;
    let mut first = open();
    first.write_all(&[line(0).as_bytes(), b"\n", &line(1).as_bytes()[..half]].concat()).unwrap();
    wait_until("the whole line is exported", || ids(&installation) == once(0..1));
    following.wait_for(&path);
    fs::rename(&path, installation.path().join("archived.1")).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    // The old file's last line never gets its line feed.
    first.write_all(&[&line(1).as_bytes()[half..], b"\n", line(2).as_bytes()].concat()).unwrap();
    let mut second = open();
    second.write_all(&line(3).as_bytes()[..20]).unwrap();
    wait_until("the old file is exported to its end", || ids(&installation) == once(0..3));
    second.write_all(&[&line(3).as_bytes()[20..], b"\n"].concat()).unwrap();
    wait_until("so is the new one", || ids(&installation) == once(0..4));

    // The file in its place is still empty when the writer puts its last line into the old one.
    following.wait_for(&path);
    fs::rename(&path, installation.path().join("archived.2")).unwrap();
    let mut third = open();
    std::thread::sleep(Duration::from_millis(200));
    second.write_all((line(4) + "\n").as_bytes()).unwrap();
    wait_until("the old file's last line is exported", || ids(&installation) == once(0..5));
    third.write_all(line(5).as_bytes()).unwrap();
    following.wait_for(&path);
    std::thread::sleep(Duration::from_millis(300));
    following.stop();
    assert_eq!(ids(&installation), once(0..5), "a line without a line feed may go on");
    installation.run_ok(&["run"]);
    let mut lines: Vec<_> = installation.lines().into_iter().map(|line| String::from_utf8(line).unwrap()).collect();
    lines.sort();
    assert_eq!(lines, (0..6).map(line).collect::<Vec<_>>());
    assert_eq!(installation.dead_letters(), [""; 0]);
}

#[test]
fn the_folder_of_a_configuration_may_be_called_anything() {
    let installation = Installation::new("");
    let configuration = "[sources.glob]\nfiles = \"in/*.ndjson\"\n[sources.folder]\nfiles = \"in/\"\n\
                         [exports.glob]\nsource = \"glob\"\n[exports.folder]\nsource = \"folder\"\n";
    for folder in ["Plant [north]", "a{1,2}!", "what?*", "-v", "Werk \u{fc}ber \u{1f37a}"] {
        installation.write(&format!("{folder}/lakeport.toml"), configuration);
        for (id, file) in ["x.ndjson", "[x].ndjson", "x[!1]*.ndjson", "- \u{e4} .ndjson"].into_iter().enumerate() {
            installation.write(&format!("{folder}/in/{file}"), records([id]));
        }
        installation.run_ok(&["run", "--quiet", &format!("./{folder}/lakeport.toml")]);
        let files = visible_files(&installation.path().join(folder).join("lake"));
        for export in ["glob/", "folder/"] {
            let files = files.clone().into_iter().filter(|(path, _)| path.starts_with(export)).collect();
            let expected = (0..4).map(|id: usize| (id.to_string(), 1)).collect();
            assert_eq!(ids_of(files), expected, "`{export}` below `{folder}`");
        }
    }
}
