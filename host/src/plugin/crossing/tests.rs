//! What goes in as columns comes back as the same columns.

use std::sync::Arc;

use arrow_array::builder::{MapBuilder, StringBuilder};
use arrow_array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Float64Array, Int64Array, StringViewArray,
    TimestampMicrosecondArray,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

/// Rows of every type a column can have.
type Row = (
    Option<bool>,
    Option<i64>,
    Option<f64>,
    Option<i64>,
    Option<String>,
    Option<Vec<u8>>,
    Option<Vec<(String, String)>>,
);

const TYPES: [ColumnType; 8] = [
    ColumnType::Boolean,
    ColumnType::Int64,
    ColumnType::Float64,
    ColumnType::Timestamp,
    ColumnType::Text,
    ColumnType::Json,
    ColumnType::Bytes,
    ColumnType::TextMap,
];

fn row() -> impl Strategy<Value = Row> {
    // Around twelve bytes, where views change their form.
    let text = "[a-zäß]{0,16}";
    let pairs = vec((text, text), 0..3);
    (
        any::<Option<bool>>(),
        any::<Option<i64>>(),
        option::of(-1e9..1e9_f64),
        any::<Option<i64>>(),
        option::of(text),
        option::of(vec(any::<u8>(), 0..40)),
        option::of(pairs),
    )
}

fn columns(rows: &[Row]) -> Vec<ArrayRef> {
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for row in rows {
        for (key, value) in row.6.iter().flatten() {
            map.keys().append_value(key);
            map.values().append_value(value);
        }
        map.append(row.6.is_some()).unwrap();
    }
    let bytes: ArrayRef = Arc::new(rows.iter().map(|row| row.5.as_deref()).collect::<BinaryViewArray>());
    vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.3).collect::<TimestampMicrosecondArray>()),
        Arc::new(rows.iter().map(|row| row.4.as_deref()).collect::<StringViewArray>()),
        bytes.clone(),
        bytes,
        Arc::new(map.finish()),
    ]
}

fn requests() -> Vec<ColumnRequest> {
    TYPES.map(|as_type| ColumnRequest::pointer("/x", as_type)).into()
}

/// What a plugin would have in its memory.
fn owned(column: &wit::ColumnParam<'_>) -> wit::ColumnResult {
    let var_bytes =
        |v: &wit::VarBytesParam<'_>| wit::VarBytesResult { offsets: v.offsets.to_vec(), data: v.data.to_vec() };
    use wit::{ColumnValuesParam as In, ColumnValuesResult as Out};
    let values = match &column.values {
        In::Boolean(bits) => Out::Boolean(bits.to_vec()),
        In::Int64(values) => Out::Int64(values.to_vec()),
        In::Float64(values) => Out::Float64(values.to_vec()),
        In::Timestamp(values) => Out::Timestamp(values.to_vec()),
        In::Text(values) => Out::Text(var_bytes(values)),
        In::Json(values) => Out::Json(var_bytes(values)),
        In::Bytes(values) => Out::Bytes(var_bytes(values)),
        In::TextMap(pairs) => Out::TextMap(wit::TextPairsResult {
            offsets: pairs.offsets.to_vec(),
            keys: var_bytes(&pairs.keys),
            values: var_bytes(&pairs.values),
        }),
    };
    wit::ColumnResult { validity: column.validity.map(<[u8]>::to_vec), values }
}

/// Arrow compares maps with their field names; the rows' pairs are what matters.
fn same(left: &ArrayRef, right: &ArrayRef) -> bool {
    let Some((left, right)) = left.as_any().downcast_ref::<arrow_array::MapArray>().zip(right.as_any().downcast_ref())
    else {
        return left == right;
    };
    let right: &arrow_array::MapArray = right;
    left.len() == right.len()
        && (0..left.len()).all(|row| {
            let (a, b) = (left.value(row), right.value(row));
            left.is_null(row) == right.is_null(row)
                && (left.is_null(row) || (a.column(0) == b.column(0) && a.column(1) == b.column(1)))
        })
}

proptest! {
    #[test]
    fn every_column_comes_back_as_it_went(rows in vec(row(), 1..40), from in 0_usize..40, to in 0_usize..40) {
        let columns = columns(&rows);
        let (from, to) = (from.min(to).min(rows.len()), to.max(from).min(rows.len()));
        let mut scratch = Scratch::default();
        // Twice, since the memory is used again: the whole first, then some rows of it.
        for run in [0..rows.len(), from..to] {
            let lifted = scratch.lower(&requests(), &columns, run.clone(), |batch| {
                assert_eq!(batch.rows as usize, run.len());
                batch.columns.iter().map(|c| column("x", owned(c), run.len()).unwrap()).collect::<Vec<_>>()
            });
            for (lifted, sent) in lifted.iter().zip(&columns) {
                let sent = sent.slice(run.start, run.len());
                prop_assert!(same(lifted, &sent), "{lifted:?} is not {sent:?}");
            }
        }
    }

    #[test]
    fn runs_cover_every_row_once_and_keep_to_the_budget(rows in vec(row(), 1..60), budget in 1_u64..2_000) {
        let columns = columns(&rows);
        let bytes = |run: std::ops::Range<usize>| {
            // A budget of nothing: each row alone; its size is what the error says.
            run.map(|row| split(&columns.iter().map(|c| c.slice(row, 1)).collect::<Vec<_>>(), 1, 0, 0).unwrap_err().bytes).sum::<u64>()
        };
        let runs = split(&columns, rows.len(), budget, u64::MAX).unwrap();
        prop_assert_eq!(runs.iter().map(|run| run.len()).sum::<usize>(), rows.len());
        prop_assert!(runs.windows(2).all(|pair| pair[0].end == pair[1].start));
        prop_assert!(runs.iter().all(|run| run.len() == 1 || bytes(run.clone()) <= budget));
    }

    #[test]
    fn no_answer_makes_the_host_panic(
        offsets in vec(any::<u32>().prop_map(|n| if n % 4 == 0 { n } else { n % 50 }), 0..12),
        data in vec(any::<u8>(), 0..60),
        validity in option::of(vec(any::<u8>(), 0..4)),
        rows in 0_usize..12,
    ) {
        let values = || wit::VarBytesResult { offsets: offsets.clone(), data: data.clone() };
        for values in [
            wit::ColumnValuesResult::Text(values()),
            wit::ColumnValuesResult::Json(values()),
            wit::ColumnValuesResult::Boolean(data.clone()),
            wit::ColumnValuesResult::TextMap(wit::TextPairsResult {
                offsets: offsets.iter().map(|offset| offset % 3).collect(),
                keys: values(),
                values: values(),
            }),
        ] {
            if let Ok(array) = column("x", wit::ColumnResult { validity: validity.clone(), values }, rows) {
                prop_assert_eq!(array.len(), rows);
            }
        }
    }
}

#[test]
fn offsets_that_are_in_order_and_in_range_pass() {
    let values = wit::VarBytesResult { offsets: vec![0, 2, 2, 5], data: b"abcde".to_vec() };
    let array = var_bytes("x", values, 3).unwrap();
    assert_eq!(array.iter().collect::<Vec<_>>(), [Some(&b"ab"[..]), Some(b""), Some(b"cde")]);
}

fn asked(selector: wit::Selector, as_type: wit::ColumnType) -> Result<Vec<ColumnRequest>, Broken> {
    column_requests(vec![wit::ColumnRequest { selector, as_type }])
}

fn lookup(table: &str, pointer: &str) -> wit::Selector {
    wit::Selector::Lookup(wit::Lookup { table: table.to_owned(), pointer: pointer.to_owned() })
}

#[test]
fn a_lookup_may_have_any_type_and_point_at_the_whole_document() {
    for (as_type, pointer) in [
        (wit::ColumnType::Text, "/name"),
        (wit::ColumnType::Json, ""),
        (wit::ColumnType::TextMap, "/tags"),
        (wit::ColumnType::Float64, "/a~1b/~0"),
    ] {
        let requests = asked(lookup("devices", pointer), as_type).unwrap();
        let selector = Selector::Lookup { table: "devices".to_owned(), pointer: pointer.to_owned() };
        assert_eq!(requests, [ColumnRequest { selector, as_type: as_type.into() }]);
    }
}

#[test]
fn a_lookup_names_a_table_and_its_pointer_is_one() {
    let broken = |selector| asked(selector, wit::ColumnType::Text).unwrap_err();
    assert_eq!(
        broken(lookup("", "/name")),
        "asked for a lookup of `/name` in the table ``, expected the name of an export of type `changes`"
    );
    let long = "/a".repeat(100_000);
    let why = "which has 100000 segments, expected at most 64";
    assert!(broken(lookup("devices", &long)).ends_with(why));
    assert!(broken(wit::Selector::Pointer(long)).ends_with(why));
    for pointer in ["name", "/a~2", "/a~"] {
        let expected = format!("asked for the column `{pointer}`, expected an RFC 6901 pointer such as `/device/id`");
        assert_eq!(broken(lookup("devices", pointer)), expected);
        assert_eq!(broken(wit::Selector::Pointer(pointer.to_owned())), expected);
    }
}
