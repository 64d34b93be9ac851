//! Formats: each mode of the test format.

use lakeport::Kind;
use lakeport::plugin::{Failure, Format, Toolbox};
use serde_json::json;
use test_guests::format;

use super::{MOMENT, bodies, limits, sandbox, used};

fn open_format(mode: format::Mode) -> lakeport::Result<Box<dyn Format>> {
    let plugin = used("write", Some(test_guests::FORMAT), limits(), json!({ "mode": mode }));
    sandbox().toolbox().format(&plugin, MOMENT)
}

#[test]
fn formats_keep_their_files_apart_or_fail_by_name() {
    use format::Mode::*;
    for mode in [
        Array,
        CountTooMany,
        CountTooFew,
        TrailerOnAppendable,
        ExtensionWithSlash,
        ContentTypeWithLineBreak,
        LoopInDrop,
    ] {
        match mode {
            Array => interleaves_files(),
            CountTooMany => assert_eq!(encode_fails(mode), "it wrote 3 rows and rejected 0, of 2"),
            CountTooFew => assert_eq!(encode_fails(mode), "it wrote 1 rows and rejected 0, of 2"),
            TrailerOnAppendable => {
                let failure = open_fails(mode);
                assert!(failure.ends_with("it gave 3 bytes after an appendable file, expected none"), "{failure}");
            }
            ExtensionWithSlash => assert!(open_fails(mode).contains("gave the extension `../json`")),
            ContentTypeWithLineBreak => {
                assert!(open_fails(mode).contains("gave the content type `text/plain\\r\\nx-evil: 1`"))
            }
            LoopInDrop => {
                let mut format = open_format(mode).unwrap();
                format.begin(1, [0; 16], false).unwrap();
                assert!(matches!(format.finish(1).unwrap_err(), Failure::Timeout(_)));
            }
        }
    }
}

fn encode_fails(mode: format::Mode) -> String {
    let mut format = open_format(mode).unwrap();
    format.begin(1, [0; 16], false).unwrap();
    match format.encode(1, 2, &[bodies(&["1", "2"])]).unwrap_err() {
        Failure::BrokeRule(text) => {
            text.strip_prefix("plugin `write` broke the interface in `encode`: ").unwrap_or(&text).to_owned()
        }
        other => panic!("{other:?}"),
    }
}

fn open_fails(mode: format::Mode) -> String {
    let error = open_format(mode).err().unwrap();
    assert_eq!(error.kind, Kind::Plugin);
    error.message
}

fn interleaves_files() {
    let mut format = open_format(format::Mode::Array).unwrap();
    assert_eq!((format.file_type().extension.as_str(), format.file_type().appendable), ("json", false));
    let mut files = [format.begin(7, [1; 16], false).unwrap(), format.begin(9, [2; 16], false).unwrap()];
    assert!(files[0].starts_with(b"[ /* [1, 1, 1,") && files[1].starts_with(b"[ /* [2, 2, 2,"));
    files.iter_mut().for_each(Vec::clear);
    for (at, file, body) in [(0, 7, "1"), (1, 9, "2"), (0, 7, "3")] {
        files[at].extend(format.encode(file, 1, &[bodies(&[body])]).unwrap().bytes);
    }
    let rejecting = format.encode(9, 3, &[bodies(&["null", "4", "null"])]).unwrap();
    assert_eq!((rejecting.rows, rejecting.rejected.len()), (1, 2));
    files[1].extend(rejecting.bytes);
    for (at, file) in [(0, 7), (1, 9)] {
        files[at].extend(format.finish(file).unwrap());
    }
    assert_eq!(String::from_utf8_lossy(&files[0]), "\n1,\n3\n]\n");
    assert_eq!(String::from_utf8_lossy(&files[1]), "\n2,\n4\n]\n");

    assert_eq!(format.begin(7, [1; 16], true).unwrap(), b"", "a resumed file has its header");
    assert_eq!(format.encode(7, 1, &[bodies(&["5"])]).unwrap().bytes, b",\n5");
}
