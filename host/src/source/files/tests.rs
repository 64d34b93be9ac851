//! Files as they live: appended to, rotated, truncated, compressed, cut off. Every test compares whole contents.

use std::fs::{self, OpenOptions};
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;

mod avro;
mod following;
mod identity;
mod reading;
mod troubles;

/// A folder of files, and what was exported of them so far.
struct World {
    folder: TempDir,
    position: Position,
    warnings: Vec<String>,
}

impl World {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let world = World { folder: tempfile::tempdir().unwrap(), position: Position::default(), warnings: vec![] };
        files.iter().for_each(|(name, data)| world.write(name, data));
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn input(&self, pattern: &str) -> Vec<String> {
        vec![self.path(pattern).to_string_lossy().into_owned()]
    }

    fn write(&self, name: &str, data: &[u8]) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), data).unwrap();
    }

    fn append(&self, name: &str, data: &[u8]) {
        OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap().write_all(data).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn reader(&self, pattern: &str, follow: bool) -> Files {
        Files::new(self.input(pattern), Envelope::Plain, &self.position, options(follow))
    }

    /// Everything that a run of the folder exports: file names with their bytes.
    fn run(&mut self) -> Vec<(String, String)> {
        let mut reader = self.reader("", false);
        let read = self.drain(&mut reader);
        assert!(matches!(reader.read(Duration::ZERO).unwrap(), Read::End));
        read
    }

    /// What `reader` has now, the chunks of a file one after another joined.
    fn drain(&mut self, reader: &mut Files) -> Vec<(String, String)> {
        let mut read: Vec<(String, String)> = vec![];
        loop {
            let chunk = match reader.read(Duration::from_millis(450)).unwrap() {
                Read::Chunk(chunk) => chunk,
                Read::Reached | Read::Commit => continue,
                Read::Idle | Read::End => break,
            };
            assert_eq!(chunk.extent.next - chunk.extent.first, chunk.data.len() as u64 + chunk.extent.dropped);
            self.position.advance(&chunk.extent);
            let origin = &chunk.extent.origin;
            assert!(u64::from(origin.hashed) <= chunk.extent.next.min(1024));
            let name = Path::new(&*origin.name).strip_prefix(self.folder.path()).unwrap().display().to_string();
            let data = String::from_utf8(chunk.data.to_vec()).unwrap();
            match read.last_mut() {
                Some((last, text)) if *last == name => text.push_str(&data),
                _ => read.push((name, data)),
            }
        }
        self.warnings = reader.warnings();
        read.retain(|(_, data)| !data.is_empty());
        read
    }

    fn error(&self, pattern: &str) -> String {
        self.reader(pattern, false)
            .read(Duration::ZERO)
            .unwrap_err()
            .message
            .replace(self.folder.path().to_str().unwrap(), "")
    }

    fn warnings(&self) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        self.warnings.iter().map(|warning| warning.replace(&folder, "")).collect()
    }
}

fn options(follow: bool) -> ReadOptions {
    ReadOptions { follow, live: Arc::default(), run: String::new(), longest: 128 << 20 }
}

fn pairs(read: &[(String, String)]) -> Vec<(&str, &str)> {
    read.iter().map(|(name, data)| (name.as_str(), data.as_str())).collect()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(vec![], Compression::default());
    gzip.write_all(data).unwrap();
    gzip.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 1).unwrap()
}

/// `n` lines of about 100 bytes that do not compress to nothing.
fn lines(n: usize) -> String {
    (0..n)
        .map(|i| {
            format!("{{\"name\":\"n\",\"i\":{i},\"x\":\"{:064x}\"}}\n", i as u128 * 0x9e37_79b9_7f4a_7c15_f39c_c060)
        })
        .collect()
}
