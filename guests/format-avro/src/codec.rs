//! Block compression (specification, "Required Codecs" and "Optional Codecs"). In: a block's records. Out: the bytes of
//! the block.

use lakeport_plugin::Error;
use lakeport_plugin::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress};

/// How blocks are compressed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(crate = "lakeport_plugin::schemars")]
#[serde(crate = "lakeport_plugin::serde", rename_all = "lowercase")]
pub enum Codec {
    /// Not at all; every reader takes it.
    #[default]
    Null,
    /// Raw deflate, RFC 1951; every reader takes it.
    Deflate,
    /// A Zstandard frame, RFC 8878.
    Zstandard,
    /// Snappy, with the CRC-32 of the uncompressed bytes behind it.
    Snappy,
}

/// As zlib's default, which is what other writers use.
const DEFLATE_LEVEL: u8 = 6;

impl Codec {
    /// Its name in a file's header.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Null => "null",
            Codec::Deflate => "deflate",
            Codec::Zstandard => "zstandard",
            Codec::Snappy => "snappy",
        }
    }

    /// Compresses a block; `None` where its bytes stay as they are.
    ///
    /// # Errors
    /// Where a block is too large for the codec.
    pub fn compress(self, records: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(Some(match self {
            Codec::Null => return Ok(None),
            Codec::Deflate => miniz_oxide::deflate::compress_to_vec(records, DEFLATE_LEVEL),
            Codec::Zstandard => {
                let mut compressed = Vec::with_capacity(records.len() / 2);
                compress(records, &mut compressed, CompressionLevel::Fastest);
                compressed
            }
            Codec::Snappy => {
                let mut compressed = snap::raw::Encoder::new()
                    .compress_vec(records)
                    .map_err(|error| Error::Other(format!("a block cannot be compressed with snappy: {error}")))?;
                compressed.extend_from_slice(&crc32fast::hash(records).to_be_bytes());
                compressed
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDS: &[u8] = b"humidity humidity humidity humidity humidity";

    #[test]
    fn deflate_is_raw() {
        let compressed = Codec::Deflate.compress(RECORDS).unwrap().unwrap();
        assert_eq!(miniz_oxide::inflate::decompress_to_vec(&compressed).unwrap(), RECORDS);
    }

    #[test]
    fn snappy_ends_with_the_big_endian_checksum_of_what_was_compressed() {
        let compressed = Codec::Snappy.compress(RECORDS).unwrap().unwrap();
        let (data, checksum) = compressed.split_last_chunk::<4>().unwrap();
        assert_eq!(snap::raw::Decoder::new().decompress_vec(data).unwrap(), RECORDS);
        assert_eq!(u32::from_be_bytes(*checksum), crc32fast::hash(RECORDS));
    }

    #[test]
    fn the_null_codec_keeps_the_bytes() {
        assert_eq!(Codec::Null.compress(RECORDS).unwrap(), None);
    }
}
