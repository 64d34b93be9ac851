//! Random schemas and bodies that fit them: what apache-avro reads is what was sent.

use proptest::prelude::*;

use super::*;

/// A type of a schema, without names.
#[derive(Debug, Clone)]
enum Type {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    Enum(usize),
    TimestampMillis,
    LocalTimestampMicros,
    Date,
    Decimal,
    Uuid,
    Array(Box<Type>),
    Map(Box<Type>),
    Optional(Box<Type>),
    /// Of all scalars that JSON tells apart.
    Scalars,
    Record(Vec<Type>),
}

fn types() -> impl Strategy<Value = Type> {
    let leaf = prop_oneof![
        Just(Type::Null),
        Just(Type::Boolean),
        Just(Type::Int),
        Just(Type::Long),
        Just(Type::Float),
        Just(Type::Double),
        Just(Type::Bytes),
        Just(Type::Text),
        (0_usize..20).prop_map(Type::Fixed),
        (1_usize..5).prop_map(Type::Enum),
        Just(Type::TimestampMillis),
        Just(Type::LocalTimestampMicros),
        Just(Type::Date),
        Just(Type::Decimal),
        Just(Type::Uuid),
        Just(Type::Scalars),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            inner.clone().prop_map(|items| Type::Array(Box::new(items))),
            inner.clone().prop_map(|values| Type::Map(Box::new(values))),
            inner
                .clone()
                .prop_filter("no null beside null, no union in a union", |value| {
                    !matches!(value, Type::Null | Type::Optional(_) | Type::Scalars)
                })
                .prop_map(|value| Type::Optional(Box::new(value))),
            prop::collection::vec(inner, 0..5).prop_map(Type::Record),
        ]
    })
}

/// The schema of a type; types with names are numbered.
fn schema(of: &Type, names: &mut usize) -> serde_json::Value {
    *names += 1;
    let name = format!("N{names}");
    match of {
        Type::Null => json!("null"),
        Type::Boolean => json!("boolean"),
        Type::Int => json!("int"),
        Type::Long => json!("long"),
        Type::Float => json!("float"),
        Type::Double => json!("double"),
        Type::Bytes => json!("bytes"),
        Type::Text => json!("string"),
        Type::Fixed(size) => json!({"type": "fixed", "name": name, "size": size}),
        Type::Enum(count) => {
            json!({"type": "enum", "name": name, "symbols": (0..*count).map(symbol).collect::<Vec<_>>()})
        }
        Type::TimestampMillis => json!({"type": "long", "logicalType": "timestamp-millis"}),
        Type::LocalTimestampMicros => json!({"type": "long", "logicalType": "local-timestamp-micros"}),
        Type::Date => json!({"type": "int", "logicalType": "date"}),
        Type::Decimal => json!({"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 3}),
        Type::Uuid => json!({"type": "string", "logicalType": "uuid"}),
        Type::Array(items) => json!({"type": "array", "items": schema(items, names)}),
        Type::Map(values) => json!({"type": "map", "values": schema(values, names)}),
        Type::Optional(value) => json!(["null", schema(value, names)]),
        Type::Scalars => json!(["null", "boolean", "long", "double", "string"]),
        Type::Record(fields) => {
            let field = |(place, of)| json!({"name": format!("f{place}"), "type": schema(of, names)});
            json!({"type": "record", "name": name, "fields": fields.iter().enumerate().map(field).collect::<Vec<_>>()})
        }
    }
}

fn symbol(place: usize) -> String {
    format!("S{place}")
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// JSON for a type, as text, and what is to be read.
type Pair = (String, Value);

fn pair<T: std::fmt::Debug>(
    of: impl Strategy<Value = T> + 'static,
    to: impl Fn(T) -> Pair + 'static,
) -> BoxedStrategy<Pair> {
    of.prop_map(to).boxed()
}

fn values(of: &Type) -> BoxedStrategy<Pair> {
    match of {
        Type::Null => Just(("null".to_owned(), Value::Null)).boxed(),
        Type::Boolean => pair(any::<bool>(), |it| (it.to_string(), Value::Boolean(it))),
        Type::Int => pair(any::<i32>(), |it| (it.to_string(), Value::Int(it))),
        Type::Long => pair(any::<i64>(), |it| (it.to_string(), Value::Long(it))),
        Type::Float => pair(prop::num::f32::NORMAL, |it| (format!("{it:e}"), Value::Float(it))),
        Type::Double => pair(prop::num::f64::NORMAL, |it| (format!("{it:e}"), Value::Double(it))),
        Type::Bytes => pair(any::<String>(), |it| (quoted(&it), Value::Bytes(it.into_bytes()))),
        Type::Text => pair(any::<String>(), |it| (quoted(&it), Value::String(it))),
        Type::Fixed(size) => {
            let size = *size;
            pair(prop::collection::vec(0_u8..128, size), move |it| {
                (quoted(std::str::from_utf8(&it).unwrap()), Value::Fixed(size, it))
            })
        }
        Type::Enum(count) => pair(0..*count, |it| (quoted(&symbol(it)), Value::Enum(it as u32, symbol(it)))),
        Type::TimestampMillis => pair(any::<i64>(), |it| (it.to_string(), Value::TimestampMillis(it))),
        Type::LocalTimestampMicros => pair(any::<i64>(), |it| (it.to_string(), Value::LocalTimestampMicros(it))),
        Type::Date => pair(any::<i32>(), |it| (it.to_string(), Value::Date(it))),
        Type::Decimal => pair(any::<i64>(), |it| {
            let sign = if it < 0 { "-" } else { "" };
            let (whole, part) = (it.unsigned_abs() / 1000, it.unsigned_abs() % 1000);
            let bytes = it.to_be_bytes();
            let fill = if it < 0 { 0xff } else { 0 };
            let short = (0..8).find(|&at| at == 7 || bytes[at] != fill || (bytes[at + 1] ^ fill) >= 0x80).unwrap();
            (format!("{sign}{whole}.{part:03}"), Value::Decimal(bytes[short..].to_vec().into()))
        }),
        Type::Uuid => pair(any::<u128>(), |it| {
            let hex = format!("{it:032x}");
            let text = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
            (quoted(&text), Value::Uuid(serde_json::from_str(&quoted(&text)).unwrap()))
        }),
        Type::Array(items) => pair(prop::collection::vec(values(items), 0..70), |items| {
            let (json, values): (Vec<String>, Vec<Value>) = items.into_iter().unzip();
            (format!("[{}]", json.join(" , ")), Value::Array(values))
        }),
        Type::Map(of) => pair(prop::collection::hash_map(any::<String>(), values(of), 0..5), |members| {
            let json: Vec<String> = members.iter().map(|(key, (json, _))| format!("{}:{json}", quoted(key))).collect();
            let values = members.into_iter().map(|(key, (_, value))| (key, value));
            (format!("{{{}}}", json.join(",")), Value::Map(values.collect()))
        }),
        Type::Optional(of) => {
            let some = pair(values(of), |(json, value)| (json, Value::Union(1, Box::new(value))));
            prop_oneof![Just(("null".to_owned(), Value::Union(0, Box::new(Value::Null)))), some].boxed()
        }
        Type::Scalars => {
            let branch = |place: u32, of: Type| {
                pair(values(&of), move |(json, value)| (json, Value::Union(place, Box::new(value))))
            };
            // Doubles that are no integers: those are longs.
            let fraction = pair(any::<i32>(), |it| {
                let number = f64::from(it) + 0.5;
                (number.to_string(), Value::Union(3, Box::new(Value::Double(number))))
            });
            prop_oneof![
                branch(0, Type::Null),
                branch(1, Type::Boolean),
                branch(2, Type::Long),
                fraction,
                branch(4, Type::Text)
            ]
            .boxed()
        }
        Type::Record(fields) => {
            let fields: Vec<BoxedStrategy<Pair>> = fields.iter().map(values).collect();
            pair(fields, |fields| {
                let mut json: Vec<String> =
                    fields.iter().enumerate().map(|(place, (json, _))| format!("\"f{place}\" : {json}")).collect();
                json.reverse();
                json.push("\"extra\":[{}]".into());
                let value = |(place, (_, value))| (format!("f{place}"), value);
                (
                    format!("{{{}}}", json.join(",\n")),
                    Value::Record(fields.into_iter().enumerate().map(value).collect()),
                )
            })
        }
    }
}

fn files() -> impl Strategy<Value = (Type, Vec<Vec<Pair>>, usize)> {
    let fields = prop::collection::vec(types(), 0..6).prop_map(Type::Record);
    fields.prop_flat_map(|of| {
        let batches = prop::collection::vec(prop::collection::vec(values(&of), 0..12), 1..4);
        (Just(of), batches, 1_024_usize..4_096)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn apache_avro_reads_what_was_sent((of, batches, block_size) in files(), codec in prop::sample::select(CODECS.to_vec())) {
        let schema = schema(&of, &mut 0);
        let settings = json!({"record": "schema", "schema": schema, "codec": codec, "block-size": block_size});
        let sent: Vec<Batch> = batches
            .iter()
            .map(|batch| bodies(&batch.iter().map(|(json, _)| json.as_str()).collect::<Vec<_>>()))
            .collect();
        let expected: Vec<Value> = batches.into_iter().flatten().map(|(_, value)| value).collect();
        prop_assert_eq!(read(&written(&settings, &sent)), expected);
    }

    #[test]
    fn no_body_that_does_not_fit_panics(of in prop::collection::vec(types(), 0..4), (json, _) in types().prop_flat_map(|of| values(&of))) {
        let schema = schema(&Type::Record(of), &mut 0);
        let mut avro = open(json!({"record": "schema", "schema": schema})).unwrap();
        avro.header(&file(false)).unwrap();
        let segment = avro.encode(&bodies(&[format!("{{\"f0\":{json},\"f1\":{json}}}"), json])).unwrap();
        prop_assert_eq!(segment.rows as usize + segment.rejected.len(), 2);
    }
}
