//! Blocks of Avro container files, decompressed.
//!
//! Each codec's own decoder is used as far as it can be told when to stop: a few bytes can stand for gigabytes.

use std::borrow::Cow;
use std::io::Read;

use apache_avro::Codec;
use flate2::{Decompress, FlushDecompress, Status};

/// What a block's stored bytes stand for, at most `longest` bytes.
///
/// # Errors
/// What was found and what was expected.
pub fn decompress(codec: Codec, stored: &[u8], longest: usize) -> Result<Cow<'_, [u8]>, String> {
    let data = match codec {
        Codec::Null => return Ok(Cow::Borrowed(stored)),
        Codec::Deflate(_) => inflate(stored, longest),
        Codec::Zstandard(_) => unzstd(stored, longest),
        // Its length comes first.
        _ if snappy_length(stored) > longest as u64 => Ok(None),
        codec => {
            let mut data = stored.to_vec();
            codec.decompress(&mut data).map(|()| Some(data)).map_err(|error| error.to_string())
        }
    };
    match data {
        Ok(Some(data)) => Ok(Cow::Owned(data)),
        Ok(None) => {
            Err(format!("an Avro block of more than {longest} bytes once it is decompressed: write smaller ones"))
        }
        Err(error) => {
            let name: &str = codec.into();
            Err(format!("an Avro block that cannot be decompressed, expected `{name}` data: {error}"))
        }
    }
}

/// Deflated bytes; `None` where they stand for too many.
fn inflate(stored: &[u8], longest: usize) -> Result<Option<Vec<u8>>, String> {
    let mut inflater = Decompress::new(false);
    let mut data = Vec::with_capacity(stored.len().saturating_mul(4).clamp(64, 1 << 20));
    loop {
        let before = (inflater.total_in(), data.len());
        let read = usize::try_from(before.0).unwrap_or(usize::MAX);
        let status = inflater.decompress_vec(&stored[read..], &mut data, FlushDecompress::None);
        match status.map_err(|error| error.to_string())? {
            _ if data.len() > longest => return Ok(None),
            Status::StreamEnd => return Ok(Some(data)),
            _ if data.len() == data.capacity() => data.reserve(data.len()),
            _ if (inflater.total_in(), data.len()) == before => return Err("the data are cut off".into()),
            _ => {}
        }
    }
}

/// Bytes of zstd frames; `None` where they stand for too many.
fn unzstd(stored: &[u8], longest: usize) -> Result<Option<Vec<u8>>, String> {
    let mut data = Vec::new();
    let mut decoder = zstd::Decoder::with_buffer(stored).map_err(|error| error.to_string())?;
    let most = (longest as u64).saturating_add(1);
    decoder.by_ref().take(most).read_to_end(&mut data).map_err(|error| error.to_string())?;
    Ok((data.len() <= longest).then_some(data))
}

/// The decompressed length at the start of a block of Snappy's; 0 where there is none.
fn snappy_length(stored: &[u8]) -> u64 {
    let mut length = 0;
    for (shift, byte) in (0..35).step_by(7).zip(stored) {
        length |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return length;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use apache_avro::{DeflateSettings, ZstandardSettings};
    use proptest::prelude::*;

    use super::*;

    fn codecs() -> [Codec; 4] {
        let deflate = Codec::Deflate(DeflateSettings::default());
        [Codec::Null, deflate, Codec::Zstandard(ZstandardSettings::default()), Codec::Snappy]
    }

    fn compressed(codec: Codec, data: &[u8]) -> Vec<u8> {
        let mut data = data.to_vec();
        codec.compress(&mut data).unwrap();
        data
    }

    #[test]
    fn a_block_is_decompressed_up_to_the_limit_and_not_beyond() {
        for size in [0, 1, 1_000, 300_000] {
            let data = vec![7; size];
            for codec in &codecs()[1..] {
                let stored = compressed(*codec, &data);
                assert!(decompress(*codec, &stored, size).unwrap() == data, "{codec:?}, {size}");
                if size > 0 {
                    let reason = decompress(*codec, &stored, size - 1).unwrap_err();
                    let most = size - 1;
                    assert_eq!(
                        reason,
                        format!("an Avro block of more than {most} bytes once it is decompressed: write smaller ones")
                    );
                }
            }
        }
    }

    #[test]
    fn a_block_that_is_cut_off_or_damaged_is_refused() {
        let data: Vec<u8> = (0..2_000u32).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
        for codec in &codecs()[1..] {
            let mut stored = compressed(*codec, &data);
            let reason = decompress(*codec, &stored[..stored.len() / 2], 1 << 20).unwrap_err();
            assert!(reason.starts_with("an Avro block that cannot be decompressed, expected `"), "{reason}");
            stored.fill(0xff);
            assert!(decompress(*codec, &stored, 1 << 20).is_err());
        }
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(data in proptest::collection::vec(any::<u8>(), 0..3_000), repeat in 1usize..50) {
            let data = data.repeat(repeat);
            for codec in codecs() {
                let stored = compressed(codec, &data);
                prop_assert_eq!(&*decompress(codec, &stored, data.len().max(stored.len())).unwrap(), &data[..]);
            }
        }
    }
}
