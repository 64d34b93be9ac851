//! Record kind `message`: the service's own files are the measure.

use lakeport_plugin::TextPairs;

use super::*;

#[path = "../../../../tests/support/shared_data.rs"]
mod shared_data;

use shared_data::shared_data;

/// A message before it is written.
#[derive(Default, Clone)]
struct Sent<'a> {
    enqueued_text: Option<&'a [u8]>,
    enqueued: Option<i64>,
    written: Option<i64>,
    subject: Option<&'a [u8]>,
    properties: Option<Vec<(&'a str, &'a str)>>,
    system: Option<Vec<(&'a str, &'a str)>>,
    body: Option<&'a [u8]>,
}

fn timestamps(values: &[Option<i64>]) -> Column {
    let numbers = values.iter().map(|value| value.unwrap_or(i64::MAX)).collect();
    Column { validity: validity(values), values: ColumnValues::Timestamp(numbers) }
}

fn pairs(values: &[Option<Vec<(&str, &str)>>]) -> Column {
    let empty = || VarBytes { offsets: vec![0], data: Vec::new() };
    let mut map = TextPairs { offsets: vec![0], keys: empty(), values: empty() };
    for pairs in values {
        for (key, value) in pairs.iter().flatten() {
            map.keys.push(key.as_bytes());
            map.values.push(value.as_bytes());
        }
        map.offsets.push(map.keys.offsets.len() as u32 - 1);
    }
    Column { validity: validity(values), values: ColumnValues::TextMap(map) }
}

fn batch(sent: &[Sent]) -> Batch {
    macro_rules! each {
        ($field:ident) => {
            &sent.iter().map(|sent| sent.$field.clone()).collect::<Vec<_>>()
        };
    }
    Batch::new(
        sent.len(),
        vec![
            column(each!(enqueued_text), ColumnValues::Text),
            timestamps(each!(enqueued)),
            timestamps(each!(written)),
            column(each!(subject), ColumnValues::Text),
            pairs(each!(properties)),
            pairs(each!(system)),
            column(each!(body), ColumnValues::Bytes),
        ],
    )
}

type Pairs = Vec<(String, String)>;

/// The one message of a file, as its bytes have it: apache-avro does not keep the order of pairs.
fn only(sent: Sent) -> (String, Pairs, Pairs, Option<Vec<u8>>) {
    let batch = batch(&[sent]);
    let mut avro = open(json!({})).unwrap();
    let mut bytes = Vec::new();
    avro.write(batch.row(0), &mut bytes).unwrap();
    let mut rest = &bytes[..];
    let enqueued = text(&mut rest);
    let (properties, system) = (map(&mut rest), map(&mut rest));
    let body = (long(&mut rest) == 1).then(|| text(&mut rest).into_bytes());
    assert_eq!(rest, b"");
    (enqueued, properties, system, body)
}

fn text(rest: &mut &[u8]) -> String {
    let length = long(rest) as usize;
    let (text, after) = rest.split_at(length);
    *rest = after;
    String::from_utf8(text.to_vec()).unwrap()
}

fn map(rest: &mut &[u8]) -> Pairs {
    let count = long(rest);
    let pairs = (0..count).map(|_| (text(rest), text(rest))).collect();
    assert!(count == 0 || long(rest) == 0);
    pairs
}

fn owned(pairs: &[(&str, &str)]) -> Pairs {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

const TIME: &str = "2018-06-11T00:00:08.2250000Z";
const MICROS: i64 = 1_528_675_208_225_000;

#[test]
fn the_schema_is_the_services() {
    let schema = r#"{"type":"record","name":"Message","namespace":"Microsoft.Azure.Devices","fields":[{"name":"EnqueuedTimeUtc","type":"string"},{"name":"Properties","type":{"type":"map","values":"string"}},{"name":"SystemProperties","type":{"type":"map","values":"string"}},{"name":"Body","type":["null","bytes"]}]}"#;
    assert_eq!(crate::message::SCHEMA, schema);
    assert_eq!(schema.len(), 296);
}

#[test]
fn the_header_is_the_services_byte_for_byte() {
    let Some(theirs) = shared_data("iot-hub-header.avro") else { return };
    let theirs = std::fs::read(theirs).unwrap();
    let length = open(json!({})).unwrap().header(&file(false)).unwrap().len();
    let seed = theirs[length - 16..length].to_vec();
    let ours = open(json!({})).unwrap().header(&FileContext { seed, resumed: false }).unwrap();
    assert_eq!(ours, theirs[..length]);
}

#[test]
fn a_message_as_the_service_has_it_stays_as_it_is() {
    let system = [
        ("connectionDeviceId", "2383d8ba-c98c-403a-b4d5-8963859643bb"),
        ("connectionAuthMethod", r#"{"scope":"hub","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#),
        ("connectionDeviceGenerationId", "636614021491644195"),
        ("enqueuedTime", TIME),
    ];
    let message = only(Sent {
        enqueued_text: Some(TIME.as_bytes()),
        enqueued: Some(1),
        written: Some(2),
        subject: Some(b"another"),
        properties: Some(vec![("z", "1"), ("a", ""), ("é", "2")]),
        system: Some(system.to_vec()),
        body: Some(br#"{"humidity":80.59100954598546}"#),
    });
    let properties = owned(&[("z", "1"), ("a", ""), ("é", "2")]);
    let body = Some(br#"{"humidity":80.59100954598546}"#.to_vec());
    assert_eq!(message, (TIME.to_owned(), properties, owned(&system), body));
}

#[test]
fn a_message_from_elsewhere_gets_its_device_first_and_its_time_last() {
    let sent = Sent {
        enqueued: Some(MICROS),
        subject: Some(b"d1"),
        system: Some(vec![("contentType", "application/json")]),
        ..Sent::default()
    };
    let system = [("connectionDeviceId", "d1"), ("contentType", "application/json"), ("enqueuedTime", TIME)];
    assert_eq!(only(sent), (TIME.to_owned(), owned(&[]), owned(&system), None));
}

#[test]
fn without_a_subject_there_is_no_device() {
    let sent = Sent { written: Some(MICROS), body: Some(b""), ..Sent::default() };
    assert_eq!(only(sent), (TIME.to_owned(), owned(&[]), owned(&[("enqueuedTime", TIME)]), Some(Vec::new())));
}

#[test]
fn a_time_in_another_form_is_written_in_the_services() {
    let time = |text: Option<&'static [u8]>, enqueued, written| {
        only(Sent { enqueued_text: text, enqueued, written, ..Sent::default() }).0
    };
    assert_eq!(time(Some(b"2018-06-11T02:00:08.225+02:00"), Some(MICROS), Some(5)), TIME);
    assert_eq!(time(None, None, Some(MICROS)), TIME);
    assert_eq!(time(None, None, Some(-1)), "1969-12-31T23:59:59.9999990Z");
    assert_eq!(time(Some(b"2018-06-11T00:00:08.2251234Z"), Some(1), Some(2)), "2018-06-11T00:00:08.2251234Z");
}

#[test]
fn a_message_without_a_time_that_can_be_written_is_rejected() {
    let rejected = |sent: Sent| open(json!({})).unwrap().write(batch(&[sent]).row(0), &mut Vec::new()).unwrap_err().0;
    assert_eq!(rejected(Sent::default()), "the record has neither an enqueued time nor a write time");
    assert_eq!(
        rejected(Sent { enqueued: Some(i64::MAX - 1), ..Sent::default() }),
        "the enqueued time is 9223372036854775806 microseconds since 1970, expected one of the years 0 to 9999"
    );
    // That of the commit would look as if the queue had said it.
    let odd = b"11.06.2018 00:00:08";
    assert_eq!(
        rejected(Sent { enqueued_text: Some(odd), written: Some(MICROS), ..Sent::default() }),
        "the enqueued time is `11.06.2018 00:00:08`, expected a time such as `2018-06-11T00:00:08.2250000Z`"
    );
}

#[test]
fn bodies_and_texts_of_every_length_are_written_whole() {
    let text: String = (0..300).map(|n| char::from(b'a' + n as u8 % 26)).collect();
    let sent: Vec<Sent> = (0..300)
        .map(|length| Sent {
            written: Some(length as i64 * 100_000),
            subject: Some(&text.as_bytes()[..length]),
            properties: Some(vec![(&text[..length % 19], &text[length..]); length % 70]),
            body: (length % 5 > 0).then(|| &text.as_bytes()[length..]),
            ..Sent::default()
        })
        .collect();
    for codec in CODECS {
        let settings = json!({"codec": codec, "block-size": 2_000});
        let records = read(&written(&settings, &[batch(&sent), batch(&[]), batch(&sent)]));
        assert_eq!(records.len(), 600);
        for (record, sent) in records.iter().zip(sent.iter().chain(&sent)) {
            let body = match sent.body {
                Some(body) => Value::Union(1, Box::new(Value::Bytes(body.to_vec()))),
                None => Value::Union(0, Box::new(Value::Null)),
            };
            assert_eq!(field(record, "Body"), &body);
            let pairs = sent.properties.iter().flatten();
            let pairs = pairs.map(|(key, value)| ((*key).to_owned(), Value::String((*value).to_owned())));
            assert_eq!(field(record, "Properties"), &Value::Map(pairs.collect()));
            let Value::Map(system) = field(record, "SystemProperties") else { panic!() };
            let subject = String::from_utf8(sent.subject.unwrap().to_vec()).unwrap();
            assert_eq!(system["connectionDeviceId"], Value::String(subject));
            assert_eq!(&system["enqueuedTime"], field(record, "EnqueuedTimeUtc"));
        }
    }
}

#[test]
fn a_body_that_is_not_json_stays_as_it_is() {
    let body: Vec<u8> = (0..=255).collect();
    let records =
        read(&written(&json!({}), &[batch(&[Sent { written: Some(0), body: Some(&body), ..Sent::default() }])]));
    assert_eq!(field(&records[0], "Body"), &Value::Union(1, Box::new(Value::Bytes(body))));
}
