//! `Content-Encoding`: none, gzip or zstd, one layer, decompressed up to a limit.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use super::body::no_memory;
use crate::answer::{Problem, Reason};
use crate::budget::Charge;
use crate::escape::Escaped;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// The largest window of zstd, 8 MiB: what RFC 9659 allows in HTTP.
const ZSTD_WINDOW_LOG: u32 = 23;

impl Encoding {
    /// Tells the encoding from the headers.
    pub(super) fn of(headers: &HeaderMap) -> Result<Encoding, Problem> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let value = match (values.next(), values.next()) {
            (None, _) => return Ok(Encoding::Identity),
            (Some(value), None) => value.as_bytes().trim_ascii(),
            (Some(_), Some(_)) => {
                return Err(unsupported("there is more than one `Content-Encoding`, expected one layer".to_owned()));
            }
        };
        let is = |name: &str| value.eq_ignore_ascii_case(name.as_bytes());
        match () {
            () if is("identity") || value.is_empty() => Ok(Encoding::Identity),
            () if is("gzip") || is("x-gzip") => Ok(Encoding::Gzip),
            () if is("zstd") => Ok(Encoding::Zstd),
            () => Err(unsupported(format!(
                "`Content-Encoding: {}`, expected `gzip` or `zstd`, one layer",
                Escaped(value)
            ))),
        }
    }

    /// Decompresses a body, and stops at the limit.
    pub(super) fn decode(self, body: Bytes, limit: usize, charge: &mut Charge) -> Result<Bytes, Problem> {
        match self {
            Encoding::Identity if body.len() > limit => Err(too_large(limit)),
            Encoding::Identity => Ok(body),
            Encoding::Gzip => read_all(MultiGzDecoder::new(&*body), "gzip", limit, charge),
            Encoding::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(&*body).and_then(|mut decoder| {
                    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                    Ok(decoder)
                });
                read_all(decoder.map_err(|error| invalid("zstd", &error))?, "zstd", limit, charge)
            }
        }
    }
}

/// Reads to the end. What is read is charged before there is more of it.
fn read_all(mut decoder: impl Read, name: &str, limit: usize, charge: &mut Charge) -> Result<Bytes, Problem> {
    const STEP: usize = 64 << 10;
    let mut decoded = Vec::new();
    loop {
        let step = STEP.min(limit + 1 - decoded.len());
        charge.grow(step).map_err(|_| no_memory())?;
        let before = decoded.len();
        decoder.by_ref().take(step as u64).read_to_end(&mut decoded).map_err(|error| invalid(name, &error))?;
        match decoded.len() {
            length if length > limit => return Err(too_large(limit)),
            length if length - before < step => return Ok(decoded.into()),
            _ => {}
        }
    }
}

fn unsupported(detail: String) -> Problem {
    Problem::new(Reason::UnsupportedEncoding, detail)
}

fn invalid(name: &str, error: &std::io::Error) -> Problem {
    Problem::new(
        Reason::InvalidBody,
        format!("the body is not {name}, as `Content-Encoding` says, or is cut off: {error}"),
    )
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        Reason::BodyTooLarge,
        format!("the decompressed body has more than {limit} bytes: send fewer records at a time"),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;

    use super::*;
    use crate::budget::Budget;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(encoding: Encoding, body: Vec<u8>, limit: usize) -> Result<Bytes, Problem> {
        encoding.decode(body.into(), limit, &mut Budget::new(1 << 30).charge())
    }

    #[test]
    fn bodies_are_decompressed_whole_or_not_at_all() {
        let data = b"{\"a\":1}\n".repeat(100_000);
        let zstd = zstd::encode_all(&*data, 3).unwrap();
        for (encoding, body) in
            [(Encoding::Gzip, gzip(&data)), (Encoding::Zstd, zstd), (Encoding::Identity, data.clone())]
        {
            assert_eq!(decode(encoding, body.clone(), data.len()).unwrap(), data);
            assert_eq!(decode(encoding, body.clone(), data.len() - 1).unwrap_err().reason, Reason::BodyTooLarge);
            if encoding != Encoding::Identity {
                let cut = body[..body.len() - 3].to_vec();
                assert_eq!(decode(encoding, cut, data.len()).unwrap_err().reason, Reason::InvalidBody, "{encoding:?}");
                let garbage = [&body[..], b"garbage"].concat();
                assert_eq!(
                    decode(encoding, garbage, data.len()).unwrap_err().reason,
                    Reason::InvalidBody,
                    "{encoding:?}"
                );
                assert_eq!(decode(encoding, data.clone(), data.len()).unwrap_err().reason, Reason::InvalidBody);
                assert_eq!(decode(encoding, body.repeat(2), 2 * data.len()).unwrap(), data.repeat(2));
            }
        }
    }

    #[test]
    fn a_body_that_is_not_compressed_but_says_so_is_invalid() {
        assert_eq!(decode(Encoding::Gzip, Vec::new(), 10).unwrap_err().reason, Reason::InvalidBody);
    }

    #[test]
    fn memory_is_charged_while_a_bomb_is_decompressed() {
        let bomb = zstd::encode_all(std::io::repeat(0).take(64 << 20), 19).unwrap();
        let budget = Budget::new(1 << 20);
        let problem = Encoding::Zstd.decode(bomb.into(), 1 << 30, &mut budget.charge()).unwrap_err();
        assert_eq!(problem.reason, Reason::NoMemory);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn one_known_layer_is_taken() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, value.parse().unwrap());
            }
            Encoding::of(&headers)
        };
        assert_eq!(of(&[]), Ok(Encoding::Identity));
        assert_eq!(of(&["GZip"]), Ok(Encoding::Gzip));
        for wrong in
            [&["gzip, gzip"][..], &["gzip", "gzip"], &["gzip,zstd"], &["br"], &["deflate"], &["identity, gzip"]]
        {
            assert_eq!(of(wrong).unwrap_err().reason, Reason::UnsupportedEncoding, "{wrong:?}");
        }
    }
}
