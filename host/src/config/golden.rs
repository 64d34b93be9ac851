//! Wrong configurations and the exact text of their errors: `tests/golden/config/*.toml` and `*.stderr`.

use std::path::Path;

use super::tests::environment;

/// Shared with the integration tests.
#[path = "../../../tests/support/golden.rs"]
mod file;

pub use file::expect;

#[test]
fn every_wrong_configuration_has_its_error() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/config"));
    let mut cases: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    cases.sort();
    assert!(cases.len() >= 25, "only {} cases", cases.len());
    for case in cases {
        let text = std::fs::read_to_string(&case).unwrap();
        let error = super::parse(&text, Path::new("lakeport.toml"), &environment)
            .expect_err(&format!("{} is wrong", case.display()));
        let shown = format!("error: {error}\n");
        assert!(error.snippet.is_some() && error.help.is_some(), "{} lacks a snippet or help\n{shown}", case.display());
        assert!(!shown.contains("hunter2"), "{} shows a secret\n{shown}", case.display());
        expect(&case.with_extension("stderr"), &shown);
    }
}
