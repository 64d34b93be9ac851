//! Records that the Kinesis Producer Library puts together in one:
//! <https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md>

use md5::{Digest, Md5};

/// How an aggregated record begins: no text in UTF-8 does.
const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
/// The MD5 at its end.
const DIGEST: usize = 16;

/// Fields of the messages.
const RECORDS: u64 = 3;
const DATA: u64 = 3;

/// The records in an aggregated one; `None` where `data` is none, or not a whole one.
pub fn records(data: &[u8]) -> Option<Vec<&[u8]>> {
    let message = data.strip_prefix(&MAGIC)?;
    let (message, digest) = message.split_at_checked(message.len().checked_sub(DIGEST)?)?;
    if Md5::digest(message)[..] != *digest {
        return None;
    }
    let records = fields(message)?.into_iter().filter(|(number, _)| *number == RECORDS);
    let data = |(_, record)| {
        // The last one counts, says Protocol Buffers.
        fields(record)?.into_iter().rfind(|(number, _)| *number == DATA).map(|(_, data)| data)
    };
    let records: Vec<_> = records.map(data).collect::<Option<_>>()?;
    (!records.is_empty()).then_some(records)
}

/// The fields of a message of Protocol Buffers that have a length, by their numbers; `None` where it is none.
fn fields(mut message: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match key & 7 {
            0 => _ = varint(&mut message)?,
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (field, rest) = message.split_at_checked(length)?;
                fields.push((key >> 3, field));
                message = rest;
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(fields)
}

/// Takes a number off the beginning.
fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for at in 0..10 {
        let byte = *message.get(at)?;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            *message = &message[at + 1..];
            return Some(value);
        }
    }
    None
}

/// An aggregated record, for tests.
#[cfg(test)]
pub fn aggregated(records: &[&[u8]]) -> Vec<u8> {
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2];
        let mut length = bytes.len();
        while length > 0x7f {
            field.push(length as u8 | 0x80);
            length >>= 7;
        }
        field.push(length as u8);
        [field, bytes.to_vec()].concat()
    }
    let mut message = field(1, b"a partition key");
    for record in records {
        // The index of its partition key, then the data.
        message.extend(field(3, &[vec![1 << 3, 0], field(3, record)].concat()));
    }
    [&MAGIC[..], &message, &Md5::digest(&message)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_record_of_an_aggregated_one_is_found() {
        let long = vec![b'x'; 70_000];
        let data = aggregated(&[b"{\"a\":1}", b"", &long]);
        assert_eq!(records(&data).unwrap(), [&b"{\"a\":1}"[..], b"", &long]);
    }

    #[test]
    fn what_is_no_whole_aggregated_record_is_left_as_it_is() {
        let data = aggregated(&[b"{\"a\":1}", b"{\"b\":2}"]);
        for length in 0..data.len() {
            assert_eq!(records(&data[..length]), None, "{length}");
        }
        assert_eq!(records(b"{\"a\":1}"), None);
        assert_eq!(records(&[&MAGIC[..], &[0xff; 40]].concat()), None);
        assert_eq!(records(&aggregated(&[])), None);
    }
}
