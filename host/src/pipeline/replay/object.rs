//! One object of dead letters: which of them are tried again, and what becomes of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::Replayed;
use crate::commit::letters::{self, Letter, Selection};
use crate::plan::Envelope;
use crate::record::{DeadLetter, Share};
use crate::source::{Chunk, Extent, Framing, Origin};

/// Bytes of records in one chunk.
const CHUNK: usize = 1 << 20;

/// An object of dead letters, until what was tried is committed.
#[derive(Debug)]
pub struct LetterObject {
    key: Arc<str>,
    lines: Vec<(Bytes, Role)>,
    /// How many records are tried.
    tried: u32,
}

/// What is done with a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Stays,
    /// Its record is tried, with this number.
    Goes(u32),
    /// The record of this number is its record, too.
    Follows(u32),
}

/// What a span made of the objects whose letters it tried.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The time in the name of the object that the first letters which stay came from.
    first: Option<String>,
    /// Letters that stay, and those that were replayed: lines, and how many.
    left: (Vec<u8>, u64),
    gone: (Vec<u8>, u64),
    /// The objects that held them.
    pub obsolete: Vec<String>,
    /// How many dead letters there are more than before, with those that were replayed.
    pub more: i64,
    pub counts: Replayed,
}

impl LetterObject {
    /// Reads an object: which of its letters are tried, their records in chunks, and a count of what cannot be tried.
    pub fn read(
        key: &str,
        bytes: &Bytes,
        selection: &Selection,
        envelope: Envelope,
        counts: &mut Replayed,
    ) -> (LetterObject, Vec<Chunk>) {
        let key: Arc<str> = key.into();
        let origin = Arc::new(Origin { name: key.clone(), inode: 0, hashed: 0, hash: String::new() });
        let mut object = LetterObject { key, lines: Vec::new(), tried: 0 };
        let mut gathered = Gathered { origin, chunks: Vec::new(), data: Vec::new(), starts: Vec::new(), first: 0 };
        // Records that several letters of the object hold.
        let mut numbers: HashMap<(String, u64), (u32, Bytes)> = HashMap::new();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line = bytes.slice_ref(line);
            let mut role = Role::Stays;
            match serde_json::from_slice::<Letter>(&line) {
                Err(_) => counts.pass_over("the line is no dead letter: somebody has edited it", 1),
                Ok(letter) => {
                    let place = (letter.origin.clone(), letter.offset);
                    let dead = letter.record();
                    // One that repeats another may keep less of the record.
                    let is_same = |raw: &Bytes| raw.len() as u64 == dead.length && raw.starts_with(&dead.raw);
                    let same = numbers.get(&place).filter(|(_, raw)| is_same(raw)).map(|(number, _)| *number);
                    if letter.share == Share::Repeat
                        && let Some(number) = same
                    {
                        role = Role::Follows(number);
                    } else if selection.takes(&letter) {
                        match obstacle(&letter, &dead, envelope) {
                            Some(why) => counts.pass_over(why, 1),
                            None => {
                                role = Role::Goes(object.tried);
                                numbers.insert(place, (object.tried, dead.raw.clone()));
                                gathered.push(&dead.raw);
                                object.tried += 1;
                            }
                        }
                    }
                }
            }
            object.lines.push((line, role));
        }
        gathered.end_chunk();
        (object, gathered.chunks)
    }

    /// The object's key: what the records' origin is called while they are tried.
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// How many records are tried.
    pub fn tried(&self) -> u32 {
        self.tried
    }

    /// Bytes of its letters.
    pub fn bytes(&self) -> usize {
        self.lines.iter().map(|(line, _)| line.len()).sum()
    }

    /// Adds to `out` what became of the letters, of which the first `sent` records were tried and `dead` were refused again.
    pub fn settle(self, sent: u32, dead: Vec<DeadLetter>, time: DateTime<Utc>, out: &mut Outcome) {
        let mut refused: BTreeMap<u64, Vec<DeadLetter>> = BTreeMap::new();
        for dead in dead {
            refused.entry(dead.offset).or_default().push(dead);
        }
        let answers = |number: u32| refused.get(&u64::from(number)).map(Vec::as_slice).unwrap_or_default();
        let is_tried = |number: u32| number < sent;
        // Where nothing has changed, the object is left alone.
        let is_changed = self.lines.iter().any(|(line, role)| match role {
            Role::Goes(number) if is_tried(*number) => match answers(*number) {
                [dead] => {
                    // A part of what a line holds may be refused for the reason of the whole.
                    !parsed(line).is_some_and(|letter| {
                        letter.reason == dead.reason
                            && letter.share == dead.share
                            && letter.record().length == dead.length
                    })
                }
                _ => true,
            },
            _ => false,
        });
        let mut replayed = 0;
        for (line, role) in &self.lines {
            let letter = match role {
                Role::Goes(number) | Role::Follows(number) if is_tried(*number) => parsed(line),
                _ => None,
            };
            let (Some(letter), Role::Goes(number) | Role::Follows(number)) = (letter, role) else {
                if is_changed {
                    out.leave(line);
                }
                continue;
            };
            let dead = answers(*number);
            match (dead, role) {
                ([], _) => {
                    replayed += 1;
                    Letter { replayed: Some(letters::shown(time)), ..letter }.write(&mut out.gone.0);
                }
                // The new letters of its record are those of the first one.
                (_, Role::Follows(_)) => {
                    if is_changed {
                        out.more -= 1;
                    } else {
                        out.leave(line);
                    }
                }
                (dead, _) => {
                    out.counts.refuse(&dead[0].reason, 1);
                    if is_changed {
                        out.more += dead.len() as i64 - 1;
                        dead.iter().for_each(|dead| out.leave_letter(&again(&letter, dead)));
                    }
                }
            }
        }
        out.gone.1 += replayed;
        out.counts.replayed += replayed;
        if is_changed {
            let name = self.key.rsplit('/').next().unwrap_or_default();
            let time = name.trim_end_matches(".ndjson").split('_').next().unwrap_or_default();
            out.first.get_or_insert_with(|| time.to_owned());
            out.obsolete.push(self.key.to_string());
        }
    }
}

impl Outcome {
    fn leave(&mut self, line: &[u8]) {
        self.left.0.extend_from_slice(line);
        self.left.0.push(b'\n');
        self.left.1 += 1;
    }

    fn leave_letter(&mut self, letter: &Letter) {
        letter.write(&mut self.left.0);
        self.left.1 += 1;
    }

    /// The objects that the letters are in from now on: their keys, their lines, and how many there are. `folder` is the partition's.
    pub fn take_objects(&mut self, folder: &str, time: DateTime<Utc>) -> Vec<(String, Vec<u8>, u64)> {
        let time = letters::named(time);
        let (left, gone) = (std::mem::take(&mut self.left), std::mem::take(&mut self.gone));
        // Letters that stay keep their place among the others: objects are read in the order of their names.
        let name = format!("{}_{time}", self.first.as_deref().unwrap_or_default());
        let left = (left.1 > 0).then(|| (format!("{}/{name}.ndjson", letters::folder(folder)), left.0, left.1));
        let gone =
            (gone.1 > 0).then(|| (format!("{}/{time}.ndjson", letters::replayed_folder(folder)), gone.0, gone.1));
        left.into_iter().chain(gone).collect()
    }
}

/// Records on their way into chunks.
struct Gathered {
    origin: Arc<Origin>,
    chunks: Vec<Chunk>,
    data: Vec<u8>,
    starts: Vec<u32>,
    /// The number of the chunk's first record.
    first: u64,
}

impl Gathered {
    fn push(&mut self, record: &[u8]) {
        if !self.data.is_empty() && self.data.len() + record.len() > CHUNK {
            self.end_chunk();
        }
        self.starts.push(u32::try_from(self.data.len()).expect("a chunk has about a mebibyte"));
        self.data.extend_from_slice(record);
        self.data.push(b'\n');
    }

    fn end_chunk(&mut self) {
        if self.starts.is_empty() {
            return;
        }
        let starts: Arc<[u32]> = std::mem::take(&mut self.starts).into();
        let next = self.first + starts.len() as u64;
        let extent = Extent::new(self.origin.clone(), self.first, next);
        self.first = next;
        let data = std::mem::take(&mut self.data).into();
        self.chunks.push(Chunk { data, extent, framing: Framing::Numbered(starts) });
    }
}

/// Why a letter's record cannot be tried; `None` where it can.
fn obstacle(letter: &Letter, dead: &DeadLetter, envelope: Envelope) -> Option<&'static str> {
    let is_cut = dead.length > dead.raw.len() as u64;
    let has = |text: &[u8]| memchr::memmem::find(&dead.raw, text).is_some();
    // The byte order mark and white space alone are no record.
    let is_blank = dead
        .raw
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(&dead.raw)
        .iter()
        .all(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
    Some(match letter.share {
        _ if letter.origin.starts_with("table ") => {
            "a row that the format refused in a snapshot: the table has it, and the next snapshot with `--full` writes it"
        }
        Share::Part => "other rows that a transform made of the record were exported: they would be exported twice",
        Share::Repeat => "the record is that of another letter, which was not tried with it",
        Share::Whole if is_cut => "only the beginning of the record is kept: export it from its source again",
        Share::Whole if is_blank => "the letter holds no record",
        Share::Whole if dead.raw.contains(&b'\n') && envelope != Envelope::Avro => {
            "the record has a line feed: somebody has edited it"
        }
        Share::Whole if envelope == Envelope::Avro => {
            "a record of an Avro file: its schema is in the file, and not in the letter"
        }
        Share::Whole if envelope == Envelope::ODataDelta && !has(b"odata.context\"") && !has(b"\"@context\"") => {
            "a row of an OData page: what names its entity set is in the page, and not in the letter"
        }
        Share::Whole => return None,
    })
}

fn parsed(line: &[u8]) -> Option<Letter> {
    serde_json::from_slice(line).ok()
}

/// The letter of a record that was refused again. A line that holds several records gives those that were refused.
fn again(letter: &Letter, dead: &DeadLetter) -> Letter {
    let is_all = dead.length == letter.record().length;
    let new = Letter::new(dead, DateTime::default());
    let (record, record_base64, cut_from) = match is_all {
        true => (letter.record.clone(), letter.record_base64.clone(), letter.cut_from),
        false => (new.record, new.record_base64, new.cut_from),
    };
    Letter { reason: dead.reason.clone(), share: dead.share, record, record_base64, cut_from, ..letter.clone() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &str = "l/e/0/dead-letters/2026-11-30T100000.000000Z_2026-12-01T000000.000000Z.ndjson";

    fn time() -> DateTime<Utc> {
        DateTime::from_timestamp(1_796_083_200, 0).unwrap()
    }

    fn line(offset: u64, record: &str, more: serde_json::Value) -> String {
        let mut letter = json!({"reason": "r", "origin": "/in", "offset": offset, "time": "2026-11-30T10:00:00.000Z", "record": record});
        letter.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        letter.to_string()
    }

    fn read(lines: &[String], envelope: Envelope) -> (LetterObject, Vec<Chunk>, Replayed) {
        let mut counts = Replayed::default();
        let bytes = Bytes::from(lines.join("\n") + "\n");
        let (object, chunks) = LetterObject::read(KEY, &bytes, &Selection::default(), envelope, &mut counts);
        (object, chunks, counts)
    }

    fn refused(number: u64, reason: &str, record: &str) -> DeadLetter {
        DeadLetter::new(reason.into(), KEY.into(), number, Bytes::copy_from_slice(record.as_bytes()))
    }

    fn left(out: &mut Outcome) -> Vec<(String, String, u64)> {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        out.take_objects("l/e/0", time()).into_iter().map(|(key, lines, count)| (key, text(lines), count)).collect()
    }

    #[test]
    fn what_cannot_be_tried_is_told_from_what_can() {
        let none = || json!({});
        let lines = [
            "no letter".to_owned(),
            line(0, "{}", none()),
            line(1, "{}", json!({"cut-from": 9_000_000})),
            line(2, "{}", json!({"share": "part"})),
            line(3, "{}", json!({"share": "repeat"})),
            line(4, " \r", none()),
            line(5, "{}\n{}", none()),
            line(6, "{}", json!({"origin": "table t of e"})),
        ];
        let (object, chunks, counts) = read(&lines, Envelope::Plain);
        assert_eq!((object.tried(), counts.impossible, counts.impossible_reasons.len()), (1, 7, 7), "{counts:?}");
        assert_eq!(chunks[0].data, "{}\n");
        let (object, ..) = read(&lines, Envelope::Avro);
        assert_eq!(object.tried(), 0, "a datum needs its schema");
        let rows = [line(0, r##"{"@odata.context":"#accounts"}"##, none()), line(1, r#"{"id":1}"#, none())];
        assert_eq!(read(&rows, Envelope::ODataDelta).0.tried(), 1);
    }

    #[test]
    fn chunks_are_of_a_mebibyte_and_number_their_records() {
        let lines: Vec<_> =
            (0..5).map(|at| line(at, &format!("{{{}}}", " ".repeat(CHUNK * 2 / 5)), json!({}))).collect();
        let (object, chunks, _) = read(&lines, Envelope::Plain);
        let numbers: Vec<_> = chunks.iter().map(|chunk| (chunk.extent.first, chunk.extent.next)).collect();
        assert_eq!((object.tried(), numbers), (5, vec![(0, 2), (2, 4), (4, 5)]));
        let second = chunks[1].data.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        assert_eq!(chunks[1].offset_of(second), 3);
    }

    #[test]
    fn a_part_that_is_refused_for_the_reason_of_the_whole_leaves_only_that_part() {
        let (object, ..) = read(&[line(0, "[{},[]]", json!({}))], Envelope::EventGrid);
        let mut out = Outcome::default();
        object.settle(1, vec![refused(0, "r", "[]")], time(), &mut out);
        assert!(left(&mut out).iter().all(|(_, text, _)| !text.contains("[{},[]]")), "the event was exported");
    }

    #[test]
    fn letters_that_are_replayed_are_marked_and_the_others_stay_in_order() {
        let lines = [line(0, "{}", json!({})), line(1, "[]", json!({})), "edited".to_owned(), line(2, "{}", json!({}))];
        let (object, ..) = read(&lines, Envelope::Plain);
        let mut out = Outcome::default();
        object.settle(3, vec![refused(1, "new", "[]")], time(), &mut out);
        assert_eq!((out.counts.replayed, out.counts.refused, out.more), (2, 1, 0));
        assert_eq!(out.obsolete, [KEY]);
        let objects = left(&mut out);
        assert_eq!(objects[0].0, "l/e/0/dead-letters/2026-11-30T100000.000000Z_2026-12-01T000000.000000Z.ndjson");
        let (again, edited) = objects[0].1.split_once('\n').unwrap();
        let again: Letter = serde_json::from_str(again).unwrap();
        assert_eq!((again.reason.as_str(), again.offset, edited), ("new", 1, "edited\n"));
        assert_eq!(
            (objects[1].0.as_str(), objects[1].2),
            ("l/e/0/replayed-letters/2026-12-01T000000.000000Z.ndjson", 2)
        );
        assert!(objects[1].1.lines().all(|line| line.contains("\"replayed\":\"2026-12-01T00:00:00.000Z\"")));
    }

    #[test]
    fn an_object_of_which_nothing_has_changed_is_left_alone() {
        let lines = [line(0, "{}", json!({})), line(1, "{}", json!({}))];
        let (object, ..) = read(&lines, Envelope::Plain);
        let mut out = Outcome::default();
        object.settle(2, vec![refused(0, "r", "{}"), refused(1, "r", "{}")], time(), &mut out);
        assert_eq!((out.counts.refused, out.obsolete.len(), left(&mut out).len()), (2, 0, 0));
    }

    #[test]
    fn records_that_were_not_sent_stay() {
        let lines = [line(0, "{}", json!({})), line(1, "{}", json!({}))];
        let (object, ..) = read(&lines, Envelope::Plain);
        let mut out = Outcome::default();
        object.settle(1, Vec::new(), time(), &mut out);
        assert_eq!((out.counts.replayed, left(&mut out)[0].2), (1, 1));
    }

    #[test]
    fn letters_of_one_record_go_together_and_a_line_of_several_records_leaves_those_that_were_refused() {
        let repeat = json!({"share": "repeat"});
        let lines = [line(0, "[{},{},[]]", json!({})), line(7, "{}", json!({})), line(7, "{}", repeat)];
        let (object, ..) = read(&lines, Envelope::EventGrid);
        assert_eq!(object.tried(), 2);
        let mut out = Outcome::default();
        object.settle(2, vec![refused(0, "a", "[]"), refused(0, "b", "{}")], time(), &mut out);
        assert_eq!((out.counts.replayed, out.counts.refused, out.more), (2, 1, 1));
        let objects = left(&mut out);
        assert_eq!((objects[0].2, objects[1].2), (2, 2));
        let first: Letter = serde_json::from_str(objects[0].1.lines().next().unwrap()).unwrap();
        assert_eq!((first.record.as_deref(), first.reason.as_str(), first.offset), (Some("[]"), "a", 0));
        let (object, ..) = read(&lines[1..], Envelope::Plain);
        let mut out = Outcome::default();
        object.settle(1, vec![refused(0, "new", "{}")], time(), &mut out);
        assert_eq!((out.more, left(&mut out)[0].2), (-1, 1), "one letter is enough");
    }
}
