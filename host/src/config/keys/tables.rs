//! The keys of tables: `[exports.NAME.snapshots]` and `[exports.NAME.tables.TABLE]`.

use super::Absent::{Is, Means, Required};
use super::{Form, Group, choice, key};

pub static SNAPSHOTS: Group = Group {
    id: "snapshots",
    keys: &[
        key("every", Form::Duration, Is("1h"), "The time between two snapshots."),
        key("keep", Form::Duration, Is("1d"), "How long a file stays after a newer one has taken its place."),
    ],
    later: &[],
};

pub static TABLE: Group = Group {
    id: "tables",
    keys: &[
        key("linked", Form::Flag, Is("true"), "Whether the table is exported."),
        key("link", Form::Count, Is("1"), "How often the table was linked. Raise it to read the table anew."),
        key(
            "unlinked-files",
            choice(&["keep", "remove"]),
            Is("keep"),
            "What becomes of its files when it is not linked any more.",
        ),
        key(
            "kind",
            Form::Kinds,
            Means("the table's name"),
            "The kinds of the records that hold its rows, one or several: `order`, `sales.order`, `shop.sales.order`; `*` stands for any characters but a dot.",
        ),
        key(
            "key",
            Form::Pointers,
            Means("the record's subject"),
            "Where a row has its key: one member, or several in this order.",
        ),
        key(
            "created",
            Form::Pointer,
            Is("false"),
            "Where a row has the time of its creation; `false`: the time of its first writing counts.",
        ),
        key(
            "write",
            choice(&["in-place", "append-only"]),
            Is("in-place"),
            "What becomes of a changed row. `in-place`: it is replaced, or removed; `append-only`: every version stays.",
        ),
        key(
            "partition",
            choice(&["year", "month"]),
            Is("year"),
            "What a file covers: when its rows were created, in UTC. Append-only tables are by year.",
        ),
        key(
            "columns",
            Form::Columns(&COLUMN),
            Means("`\"stream\"`"),
            "Where columns are known from. `stream`: records that say so; `infer`: the rows; or the columns themselves, see below.",
        ),
    ],
    later: &[],
};

pub static COLUMN: Group = Group {
    id: "columns",
    keys: &[
        key("name", Form::Text, Required, "The column's name, as rows have it."),
        key(
            "data-type",
            choice(&[
                "string",
                "int64",
                "double",
                "decimal",
                "boolean",
                "date",
                "time",
                "dateTime",
                "dateTimeOffset",
                "guid",
                "json",
            ]),
            Required,
            "The Common Data Model's data type.",
        ),
        key("max-length", Form::Count, Means("no limit"), "Characters of a `string`."),
        key("precision", Form::Count, Means("the format's"), "Digits of a `decimal`, 1 to 38."),
        key("scale", Form::Count, Means("the format's"), "Digits of a `decimal` behind the point, up to `precision`."),
        key("choices", Form::Rows(&CHOICE), Means("none"), "What the column's numbers stand for."),
        key("choice-set", Form::Text, Means("none"), "The name that the choices of several columns share."),
    ],
    later: &[],
};

pub static CHOICE: Group = Group {
    id: "choices",
    keys: &[
        key("value", Form::Integer, Required, "The number in the rows."),
        key("label", Form::Text, Required, "What it stands for."),
        key("language", Form::Count, Is("1033"), "The label's language, a Windows language code: 1033 is English."),
    ],
    later: &[],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::DataType;

    #[test]
    fn every_data_type_can_be_written() {
        let Some(Form::Choice(known)) = COLUMN.keys.iter().find(|key| key.name == "data-type").map(|key| key.form)
        else {
            panic!("`data-type` is a choice")
        };
        assert_eq!(known, DataType::ALL.map(DataType::name));
    }
}
