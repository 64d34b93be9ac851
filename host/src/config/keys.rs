//! Every key a configuration may hold: the one table that the parser checks files against and the reference is made from.

use crate::config::plugins::Role;

mod server;
mod tables;

pub use server::{SERVER, SERVER_KEY};
pub use tables::{CHOICE, COLUMN, SNAPSHOTS, TABLE};

/// One table of the file and the keys that it may hold.
#[derive(Debug)]
pub struct Group {
    /// What marks its place in the reference, `lakes`.
    pub id: &'static str,
    pub keys: &'static [Key],
    /// Keys of later versions: refused as not available, not as unknown.
    pub later: &'static [&'static str],
}

/// One key.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub form: Form,
    pub absent: Absent,
    /// One or two sentences for the reference; the first is also the help where the key is missing.
    pub meaning: &'static str,
}

/// What a key's value looks like.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    Text,
    /// Text, or a reference to an environment variable or a file.
    Credential,
    /// A reference to an environment variable or a file; never the secret itself.
    Secret,
    Flag,
    Duration,
    Size,
    Count,
    /// A whole number, negative or not.
    Integer,
    Choice(&'static [&'static str]),
    /// A JSON pointer, or `false` for none.
    Pointer,
    /// A JSON pointer or an array of them.
    Pointers,
    /// A path or an array of them.
    Paths,
    /// A kind of records, or an array of them.
    Kinds,
    Plugin(Role),
    Plugins(Role),
    Table(&'static Group),
    /// Tables by name, `[lakes.NAME]`.
    Tables(&'static Group),
    /// Tables in an array.
    Rows(&'static Group),
    /// A table's columns: tables in an array, or where they are known from.
    Columns(&'static Group),
}

/// What the absence of a key means.
#[derive(Debug, Clone, Copy)]
pub enum Absent {
    /// The key must be there.
    Required,
    /// The same as this value, written without quotes.
    Is(&'static str),
    /// Something that is no value of the key; in words.
    Means(&'static str),
}

impl Form {
    /// What is expected, as in "… wants {}".
    pub fn wanted(self) -> String {
        match self {
            Form::Text => "text".into(),
            Form::Credential => "text, `env:NAME` or `file:PATH`".into(),
            Form::Secret => "`env:NAME` or `file:PATH`".into(),
            Form::Flag => "`true` or `false`".into(),
            Form::Duration => "a duration".into(),
            Form::Size => "a size".into(),
            Form::Count => "a whole number, 0 or more".into(),
            Form::Integer => "a whole number".into(),
            Form::Choice(known) => any_of(known),
            Form::Pointers => "a JSON pointer or an array of them".into(),
            Form::Pointer => "a JSON pointer or `false`".into(),
            Form::Paths => "a path or an array of paths".into(),
            Form::Kinds => "text or an array of texts".into(),
            Form::Plugin(role) => format!("a {role} plugin"),
            Form::Plugins(role) => format!("an array of {role} plugins"),
            Form::Table(_) | Form::Tables(_) => "a table".into(),
            Form::Rows(_) => "an array of tables".into(),
            Form::Columns(_) => "`\"stream\"`, `\"infer\"` or an array of columns".into(),
        }
    }

    /// A value that is right, as it stands in a file.
    pub fn example(self) -> &'static str {
        match self {
            Form::Text => "\"signals\"",
            Form::Credential | Form::Secret => "\"env:NAME\"",
            Form::Flag => "true",
            Form::Duration => "\"60s\"",
            Form::Size => "\"64MiB\"",
            Form::Count => "1000",
            Form::Integer => "1",
            Form::Choice(known) => known[0],
            Form::Pointer | Form::Pointers => "\"/name\"",
            Form::Paths => "\"signals/*.ndjson\"",
            Form::Kinds => "\"sales.order\"",
            Form::Plugin(Role::Format) => "{ plugin = \"ndjson\" }",
            Form::Plugin(_) => "{ plugin = \"select\" }",
            Form::Plugins(_) => "[{ plugin = \"select\", kinds = [\"Brew*\"] }]",
            Form::Table(_) | Form::Tables(_) => "{ … }",
            Form::Rows(_) => "[{ value = 1, label = \"Open\" }]",
            Form::Columns(_) => "[{ name = \"name\", data-type = \"string\" }]",
        }
    }
}

/// "`a`, `b` or `c`".
pub fn any_of(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

const fn key(name: &'static str, form: Form, absent: Absent, meaning: &'static str) -> Key {
    Key { name, form, absent, meaning }
}

const fn choice(known: &'static [&'static str]) -> Form {
    Form::Choice(known)
}

use Absent::{Is, Means, Required};

pub static FILE: Group = Group {
    id: "file",
    keys: &[
        key("sources", Form::Tables(&SOURCE), Means("none"), "Where records come from, by name."),
        key("exports", Form::Tables(&EXPORT), Required, "What goes where, by name."),
        key("lakes", Form::Tables(&LAKE), Means("one in `./lake`"), "Where files go, by name."),
        key("plugins", Form::Tables(&PLUGIN), Means("the built-in ones"), "Components of your own, by name."),
        key("server", Form::Table(&SERVER), Means("the defaults"), "How `lakeport serve` takes records over HTTP."),
    ],
    later: &[],
};

pub static SOURCE: Group = Group {
    id: "sources",
    keys: &[
        key("files", Form::Paths, Means("none"), "Files, folders (every file below) and globs; plain, gzip or zstd."),
        key("stdin", Form::Flag, Is("false"), "Read standard input. A source has one of `files`, `stdin` and `http`."),
        key("http", Form::Flag, Is("false"), "Take what `lakeport serve` and functions are sent."),
        key(
            "gaps",
            choice(&["refuse", "accept"]),
            Is("refuse"),
            "What to do where events of a partition are missing before those that a function is given. `refuse`: the platform delivers \
             again; `accept`: warn and go on, where the hub does not have them any more. So, too, where an export of a write-ahead log was \
             not configured while records were deleted, since all others had them.",
        ),
        key(
            "partitions",
            Form::Count,
            Is("1"),
            "How many partitions divide messages of queues, requests and objects. Each is written by one instance at a time, and \
             needs a place for its files: `{partition}` in the path.",
        ),
        key(
            "lake",
            Form::Text,
            Means("none: objects are not taken"),
            "The lake that holds the objects, such as blobs, whose names functions are given; they are read as files.",
        ),
        key(
            "envelope",
            choice(&[
                "plain",
                "iot-hub",
                "cloudevents",
                "event-grid",
                "change",
                "avro",
                "debezium",
                "wal2json",
                "odata-delta",
                "dataverse",
            ]),
            Is("plain"),
            "What records come in. `plain`: a line is the record itself, a JSON object. See “Envelopes” in `sources.md`.",
        ),
        key(
            "rows",
            choice(&["changed", "whole"]),
            Is("changed"),
            "What a row of an OData feed has. `changed`: what it leaves out stays; `whole`: what it leaves out is null. With `envelope = \"odata-delta\"` only.",
        ),
        key(
            "kind",
            Form::Pointer,
            Is("/name"),
            "What the record is: a signal's name. `envelope:/source/db` points into the envelope instead of the body.",
        ),
        key("time", Form::Pointer, Is("/signalTime"), "When it happened."),
        key(
            "time-unit",
            choice(&["rfc3339", "epoch-seconds", "epoch-milliseconds"]),
            Is("rfc3339"),
            "What `time` and `enqueued-time` are written in, in the body.",
        ),
        key("subject", Form::Pointer, Is("/deviceId"), "What it is about: a device."),
        key("id", Form::Pointer, Is("false"), "What tells it from every other record."),
        key("source", Form::Pointer, Is("false"), "Where it came from; the source's name where `false`."),
        key("enqueued-time", Form::Pointer, Is("/serverTime"), "When a service received it."),
        key(
            "operation",
            Form::Pointer,
            Is("false"),
            "What happened to the subject: `create`, `update`, `patch` or `delete`.",
        ),
        key("version", Form::Pointer, Is("false"), "A number that grows with every change of the subject."),
        key("properties", Form::Pointer, Is("false"), "What the sender said about it: an object of texts."),
        key("system-properties", Form::Pointer, Is("false"), "What the service said about it: an object of texts."),
    ],
    later: &["jetstream", "kafka"],
};

pub static EXPORT: Group = Group {
    id: "exports",
    keys: &[
        key(
            "type",
            choice(&["events", "changes", "table"]),
            Is("events"),
            "What is exported. `events`: each record as it is; `changes`: the newest document of each key that is new or changed; `table`: the rows of tables, see [tables.md](tables.md).",
        ),
        key("source", Form::Text, Required, "The source to read, the NAME of a `[sources.NAME]`."),
        key(
            "lake",
            Form::Text,
            Means("the only lake; `./lake` where there is none"),
            "The lake to write to, the NAME of a `[lakes.NAME]`.",
        ),
        key(
            "filters",
            Form::Plugins(Role::Filter),
            Means("`[]`"),
            "Plugins that decide which records are kept, in this order.",
        ),
        key(
            "transforms",
            Form::Plugins(Role::Transform),
            Means("`[]`"),
            "Plugins that rewrite records, in this order, after the filters.",
        ),
        key(
            "format",
            Form::Plugin(Role::Format),
            Means("`{ plugin = \"ndjson\" }`; of tables `{ plugin = \"cdm-csv\" }`"),
            "The plugin that writes the files' bytes.",
        ),
        key(
            "granularity",
            choice(&["minute", "hour", "day"]),
            Means("`\"hour\"`; `\"minute\"` for a fleet's records and for changes. See “Defaults”"),
            "How long a file covers, in UTC.",
        ),
        key(
            "timestamp",
            choice(&["event", "write"]),
            Means("`\"event\"`; `\"write\"` for a fleet's records and for changes"),
            "Which time decides a record's file: its own, or that of writing it.",
        ),
        key(
            "event-time-missing",
            choice(&["dead-letter", "enqueued"]),
            Is("dead-letter"),
            "What becomes of a record without a usable `time`. `enqueued`: its enqueued time counts instead.",
        ),
        key(
            "max-ahead",
            Form::Duration,
            Means("no limit"),
            "A record whose time is further ahead of the clock than this becomes a dead letter. With `timestamp = \"event\"` only.",
        ),
        key(
            "path",
            Form::Text,
            Means(
                "`{export}/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}`, as far as `granularity` goes; for a fleet's records see “Defaults”",
            ),
            "Where files are, below the lake's URL. See “Paths”.",
        ),
        key(
            "files",
            choice(&["growing", "rolling", "sealed"]),
            Means("`\"growing\"`; changes are always `\"rolling\"`"),
            "What readers see. `growing`: a file that grows; `rolling`: numbered parts, final at once; `sealed`: one file, when its time is over.",
        ),
        key(
            "roll-size",
            Form::Size,
            Is("16MiB"),
            "A growing file that has reached this is followed by the next part. With `files = \"growing\"` only.",
        ),
        key(
            "lateness",
            Form::Duration,
            Is("10m"),
            "How long a file waits for late records after its time is over. With `files = \"sealed\"` only.",
        ),
        key(
            "deletes",
            choice(&["omit", "mark"]),
            Is("omit"),
            "What is written of a deleted key: nothing, or a tombstone. With `type = \"changes\"` only.",
        ),
        key(
            "shape",
            choice(&["document", "twin"]),
            Is("document"),
            "What bodies are. `document`: the document itself, or a merge patch of it; `twin`: an IoT Hub device twin, or a change of one. With `type = \"changes\"` only.",
        ),
        key(
            "root",
            Form::Text,
            Means("the export's name"),
            "The folder of all tables, below the lake's URL. With `type = \"table\"` only, as the next four.",
        ),
        key(
            "public-url",
            Form::Text,
            Means("the lake's URL"),
            "The URL of the lake's folder as readers know it; `root` is appended. Catalogs name files by it.",
        ),
        key("description", Form::Text, Means("none"), "What the catalog says of the tables."),
        key(
            "snapshots",
            Form::Table(&SNAPSHOTS),
            Means("see `[exports.NAME.snapshots]`"),
            "When readers see what changed, and for how long what they saw stays.",
        ),
        key("tables", Form::Tables(&TABLE), Means("none, and one is needed"), "The tables, by name."),
        key("flush", Form::Table(&FLUSH), Means("see `[exports.NAME.flush]`"), "When what was read is committed."),
        key(
            "on-error",
            choice(&["dead-letter", "stop"]),
            Is("dead-letter"),
            "What happens when a plugin fails on a record: the record is kept as a dead letter, or the export stops.",
        ),
        key("max-record-size", Form::Size, Is("1MiB"), "A larger record becomes a dead letter. At most 1GiB."),
        key(
            "max-dead-letters",
            Form::Count,
            Means("no limit"),
            "More dead letters than this in one run stop the export.",
        ),
    ],
    later: &[],
};

pub static FLUSH: Group = Group {
    id: "flush",
    keys: &[
        key(
            "every",
            Form::Duration,
            Is("60s"),
            "At the latest this long after the first record that is not committed.",
        ),
        key("bytes", Form::Size, Is("256MiB"), "At the latest after this much was read or written."),
    ],
    later: &[],
};

pub static LAKE: Group = Group {
    id: "lakes",
    keys: &[
        key("url", Form::Text, Required, "The place: a folder or the URL of a store. See “Lakes”."),
        key(
            "endpoint",
            Form::Text,
            Means("the store's own"),
            "Another address of the store: an emulator, MinIO. Not for folders.",
        ),
        key(
            "log-folder",
            Form::Text,
            Is("_lakeport"),
            "The folder of the commit log, below the URL. One name that starts with `_` or `.`: analytics tools skip those.",
        ),
        key(
            "retry-for",
            Form::Duration,
            Is("5m"),
            "How long a request is retried that the store does not answer, or answers with 408, 429 or 5xx. `\"0s\"`: not at all.",
        ),
        key("account-key", Form::Secret, Means("–"), "Azure: the storage account's shared key."),
        key("sas-token", Form::Secret, Means("–"), "Azure: a shared access signature."),
        key("tenant-id", Form::Credential, Means("–"), "Azure: the directory of `client-id`."),
        key("client-id", Form::Credential, Means("–"), "Azure: an application; with `client-secret` and `tenant-id`."),
        key("client-secret", Form::Secret, Means("–"), "Azure: the application's secret."),
        key("managed-identity", Form::Flag, Is("false"), "Azure: ask the instance for its identity."),
        key("region", Form::Text, Is("us-east-1"), "S3: the bucket's region."),
        key("access-key-id", Form::Credential, Means("–"), "S3: the access key; with `secret-access-key`."),
        key("secret-access-key", Form::Secret, Means("–"), "S3: the access key's secret."),
        key("session-token", Form::Secret, Means("–"), "S3: the token of a temporary access key."),
        key("instance-role", Form::Flag, Is("false"), "S3: ask the instance or the pod for its role."),
        key(
            "service-account-key",
            Form::Secret,
            Means("–"),
            "Google Cloud Storage: a service account's key, the JSON text.",
        ),
        key("instance-account", Form::Flag, Is("false"), "Google Cloud Storage: ask the instance for its account."),
        key(
            "anonymous",
            Form::Flag,
            Is("false"),
            "Google Cloud Storage: no signature, for emulators and public buckets.",
        ),
    ],
    later: &[],
};

pub static PLUGIN: Group = Group {
    id: "plugins",
    keys: &[
        key("path", Form::Text, Means("a built-in plugin of this name"), "The component, a `.wasm` file."),
        key("limits", Form::Table(&LIMITS), Means("see `[plugins.NAME.limits]`"), "What the plugin may use."),
    ],
    later: &[],
};

pub static LIMITS: Group = Group {
    id: "limits",
    keys: &[
        key("memory", Form::Size, Is("64MiB"), "Linear memory of one instance, all memories together. At most 4GiB."),
        key("time", Form::Duration, Is("5s"), "Time of one call."),
        key("transfer", Form::Size, Is("32MiB"), "Bytes that one call may pass or return."),
        key("component", Form::Size, Is("32MiB"), "Size of the component."),
        key("compile-time", Form::Duration, Is("60s"), "Time that compiling the component may take."),
        key("compile-memory", Form::Size, Is("2GiB"), "Memory that compiling the component may take."),
        key("log-lines", Form::Count, Is("100"), "Log lines of one call; further ones are cut and counted."),
    ],
    later: &[],
};

/// The key of a plugin's use that names it; every other key is the plugin's own.
pub const PLUGIN_NAME: &str = "plugin";
