//! Whether two exports could make the same object, and whether one could read what it makes.
//!
//! A path stands for the set of keys that it can make: text stands for itself, a number for digits, and what comes from
//! records or plugins for anything. Two exports are safe where no key is in both sets, whatever the records hold.

use std::path::{Component, Path, PathBuf};

use crate::layout::{Piece, Token};
use crate::plan::{ExportPlan, Exports, Input, Location, TablesPlan};

/// Characters at one place of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Char(char),
    Digit,
    /// Everything but `/`.
    Any,
    /// Everything.
    Below,
}

/// A place of a key; `many`: zero or more of its characters.
#[derive(Debug, Clone, Copy)]
struct Atom {
    class: Class,
    many: bool,
}

/// Whether some key of `a` could be one of `b`'s. Letter case tells nothing apart: not every store keeps it.
pub fn overlap(a: &ExportPlan, b: &ExportPlan) -> bool {
    let ((store, above), (other, other_above)) = (place(&a.lake.location), place(&b.lake.location));
    store == other && intersect(&keys(a, &above), &keys(b, &other_above))
}

/// Whether a folder or a pattern of an export's source holds the export's own files.
pub fn feeds_itself(export: &ExportPlan) -> bool {
    if let Some(objects) = &export.source.lake {
        return objects.location.overlaps(&export.lake.location);
    }
    let (Input::Files(files), Location::Local(lake)) = (&export.source.input, &export.lake.location) else {
        return false;
    };
    let lake = without_parents(lake);
    let period = crate::layout::Fields { year: 2019, month: 9, day: 10, hour: 11, minute: 12 };
    let values = crate::layout::Values {
        export: &export.name,
        kind: "kind",
        source: &export.source.name,
        partition: "0",
        period,
        extension: "ndjson",
    };
    let data = match &export.exports {
        Exports::Tables(tables) => files_of_tables(tables).map(|file| lake.join(file)).collect(),
        _ => vec![lake.join(crate::layout::part_key(&export.path.series(&values), 0))],
    };
    let log = lake.join(&export.lake.log_folder).join(&export.name).join("0/log/00000000000000000000.json");
    let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
    let holds = |path: &String| match glob::Pattern::new(path) {
        Ok(pattern) if path.contains(['*', '?', '[']) => {
            data.iter().chain([&log]).any(|file| pattern.matches_path_with(file, options))
        }
        _ => lake.starts_with(without_parents(Path::new(path))),
    };
    files.iter().any(holds)
}

/// Files as a dataset has them: its catalog, and some of every table.
fn files_of_tables(tables: &TablesPlan) -> impl Iterator<Item = String> {
    let root = &tables.root;
    let files = move |table: &String| format!("{root}/{}", crate::dataset::file_key(table, 2019, false, 0, "csv"));
    [format!("{root}/model.json")].into_iter().chain(tables.tables.keys().map(files))
}

/// The store, and the folder in it.
fn place(location: &Location) -> (String, String) {
    match location {
        Location::Local(path) => ("file".into(), without_parents(path).to_string_lossy().into_owned()),
        Location::Memory(name) => (format!("memory:{name}"), String::new()),
        Location::Azure { account, container, prefix, endpoint, .. } => {
            (format!("azure:{account}/{container} {endpoint:?}"), prefix.clone())
        }
        Location::S3 { bucket, prefix, endpoint, .. } => (format!("s3:{bucket} {endpoint:?}"), prefix.clone()),
        Location::Gcs { bucket, prefix, endpoint, .. } => (format!("gs:{bucket} {endpoint:?}"), prefix.clone()),
    }
}

/// `path` with each `..` taken together with the folder before it.
pub fn without_parents(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => _ = plain.pop(),
            other => plain.push(other),
        }
    }
    plain
}

fn keys(export: &ExportPlan, above: &str) -> Vec<Atom> {
    let once = |class| Atom { class, many: false };
    let many = |class| Atom { class, many: true };
    let mut atoms = Vec::new();
    let text = |atoms: &mut Vec<Atom>, text: &str| atoms.extend(text.chars().map(|c| once(Class::Char(c))));
    let digits = |atoms: &mut Vec<Atom>, least: usize| atoms.extend(std::iter::repeat_n(once(Class::Digit), least));
    let above = above.trim_matches('/');
    if !above.is_empty() {
        text(&mut atoms, above);
        text(&mut atoms, "/");
    }
    if let Exports::Tables(tables) = &export.exports {
        text(&mut atoms, &tables.root);
        text(&mut atoms, "/");
        atoms.push(many(Class::Below));
        return atoms;
    }
    for piece in export.path.pieces() {
        match piece {
            Piece::Text(literal) => text(&mut atoms, literal),
            Piece::Token(Token::Export) => text(&mut atoms, &crate::layout::encode_segment(&export.name)),
            Piece::Token(Token::Kind | Token::Source | Token::Partition | Token::Extension) => {
                atoms.extend([once(Class::Any), many(Class::Any)]);
            }
            Piece::Token(Token::Month | Token::Day | Token::Hour | Token::Minute) => digits(&mut atoms, 2),
            Piece::Token(Token::Year) => {
                digits(&mut atoms, 4);
                atoms.push(many(Class::Digit));
            }
            Piece::Token(Token::Part) => {
                digits(&mut atoms, 2);
                atoms.push(many(Class::Digit));
            }
        }
    }
    atoms
}

/// Whether some text matches both: a walk over the pairs of places that a common beginning can reach.
fn intersect(a: &[Atom], b: &[Atom]) -> bool {
    let mut seen = vec![false; (a.len() + 1) * (b.len() + 1)];
    let mut open = vec![(0, 0)];
    while let Some((i, j)) = open.pop() {
        if i > a.len() || j > b.len() || std::mem::replace(&mut seen[i * (b.len() + 1) + j], true) {
            continue;
        }
        let (left, right) = (a.get(i), b.get(j));
        if left.is_none() && right.is_none() {
            return true;
        }
        if left.is_some_and(|atom| atom.many) {
            open.push((i + 1, j));
        }
        if right.is_some_and(|atom| atom.many) {
            open.push((i, j + 1));
        }
        if let (Some(left), Some(right)) = (left, right)
            && meet(left.class, right.class)
        {
            open.push((i + usize::from(!left.many), j + usize::from(!right.many)));
        }
    }
    false
}

fn meet(a: Class, b: Class) -> bool {
    match (a, b) {
        (Class::Below, _) | (_, Class::Below) => true,
        (Class::Char(a), Class::Char(b)) => a.eq_ignore_ascii_case(&b),
        (Class::Char(c), Class::Digit) | (Class::Digit, Class::Char(c)) => c.is_ascii_digit(),
        (Class::Char(c), Class::Any) | (Class::Any, Class::Char(c)) => c != '/',
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::parse;

    /// Whether exports `a` and `b` with these paths are refused.
    fn refused(a: &str, b: &str) -> bool {
        let export = |name: &str, path: &str| {
            format!("[exports.{name}]\nsource = \"s\"\nfiles = \"rolling\"\npath = \"{path}\"\n")
        };
        let text = format!("[sources.s]\nfiles = \"x\"\n{}{}", export("a", a), export("b", b));
        match parse(&text) {
            Ok(_) => false,
            Err(error) if error.message.contains("could make the same object") => true,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn paths_that_can_meet_are_refused() {
        for (a, b) in [
            ("x/{YYYY}/{part}.{ext}", "x/{YYYY}/{part}.{ext}"),
            ("x/{part}.{ext}", "x/{part}.json"),
            ("x/{kind}/{part}.{ext}", "x/b/{part}.{ext}"),
            ("x/{kind}/{part}.{ext}", "x/{source}/{part}.{ext}"),
            ("{kind}/{part}.{ext}", "{export}/{part}.{ext}"),
            ("x/{YYYY}{part}.{ext}", "x/{part}.{ext}"),
            ("x/2026-{part}.{ext}", "x/{YYYY}-{part}.{ext}"),
            ("X/{part}.{ext}", "x/{part}.{ext}"),
        ] {
            assert!(refused(a, b), "{a} and {b}");
        }
    }

    #[test]
    fn paths_that_cannot_meet_are_not() {
        for (a, b) in [
            ("{export}/{part}.{ext}", "{export}/{part}.{ext}"),
            ("x/{part}.{ext}", "y/{part}.{ext}"),
            ("x/{part}.{ext}", "x/{YYYY}/{part}.{ext}"),
            ("x/{kind}/{part}.{ext}", "x/{part}.{ext}"),
            ("x/{part}.json", "x/{part}.avro"),
            ("x/{YYYY}-{part}.{ext}", "x/{MM}-{part}.{ext}"),
        ] {
            assert!(!refused(a, b), "{a} and {b}");
        }
    }

    #[test]
    fn an_export_does_not_read_its_own_files() {
        let feeds = |files: &str| {
            let text = format!("[sources.s]\nfiles = \"{files}\"\n[exports.e]\nsource = \"s\"\n");
            parse(&text).is_err_and(|error| error.message.contains("would read its own files"))
        };
        for files in [".", "..", "./lake", "**/*.ndjson", "**/*.json", "*/*/*/*/*/*/*.ndjson"] {
            assert!(feeds(files), "{files}");
        }
        for files in ["signals", "*.ndjson", "signals/**/*.ndjson", "./lake2", "lake.ndjson"] {
            assert!(!feeds(files), "{files}");
        }
    }

    #[test]
    fn a_root_of_tables_is_no_others() {
        let refused = |root: &str, path: &str| {
            let text = format!(
                "[sources.s]\nfiles = \"x\"\n[exports.e]\nsource = \"s\"\nfiles = \"rolling\"\npath = \"{path}\"\n\
                 [exports.t]\ntype = \"table\"\nsource = \"s\"\nroot = \"{root}\"\n[exports.t.tables.account]\n"
            );
            parse(&text).is_err_and(|error| error.message == "exports `e` and `t` could make the same object")
        };
        for (root, path) in [
            ("a", "a/{part}.{ext}"),
            ("a/b", "A/b/c/d/{part}.{ext}"),
            ("a", "{kind}/{part}.{ext}"),
            ("a", "a/b/{part}"),
        ] {
            assert!(refused(root, path), "{root} and {path}");
        }
        for (root, path) in [("a", "ab/{part}.{ext}"), ("a/b", "a/{part}.{ext}"), ("a", "{part}.{ext}")] {
            assert!(!refused(root, path), "{root} and {path}");
        }
    }

    #[test]
    fn two_names_of_one_place_are_one_lake() {
        let two = |other: &str, path: &str| {
            format!(
                "[sources.s]\nfiles = \"x\"\n[lakes.a]\nurl = \"./out\"\n[lakes.b]\nurl = \"{other}\"\n\
                 [exports.a]\nsource = \"s\"\nlake = \"a\"\npath = \"in/x/{{YYYY}}/{{MM}}/{{dd}}/{{HH}}/{{part}}.{{ext}}\"\n\
                 [exports.b]\nsource = \"s\"\nlake = \"b\"\npath = \"{path}/{{YYYY}}/{{MM}}/{{dd}}/{{HH}}/{{part}}.{{ext}}\"\n"
            )
        };
        assert!(parse(&two("./y/../out", "in/x")).is_err());
        assert!(parse(&two("./out", "in/x")).is_err());
        assert!(parse(&two("./out/in", "x")).is_err(), "a lake inside another");
        assert!(parse(&two("./elsewhere", "in/x")).is_ok());
    }
}
