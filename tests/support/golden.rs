//! Expected output in files, taken over from what was printed by one command.

use std::path::Path;

/// Compares `actual` with the file at `path`, or writes it there where `LAKEPORT_BLESS=1`.
pub fn expect(path: &Path, actual: &str) {
    if std::env::var_os("LAKEPORT_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(path, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        expected == actual,
        "{} differs; LAKEPORT_BLESS=1 takes the new text over.\n--- expected\n{expected}\n--- actual\n{actual}",
        path.display()
    );
}
