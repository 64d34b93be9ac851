//! The keys of `[server]`.

use super::Absent::{Is, Means};
use super::{Form, Group, key};

pub static SERVER: Group = Group {
    id: "server",
    keys: &[
        key(
            "listen",
            Form::Text,
            Is("127.0.0.1:8080"),
            "The address and port that take requests. One that other machines can reach needs `keys`.",
        ),
        key(
            "log",
            Form::Text,
            Is("lakeport-wal"),
            "The folder of the write-ahead logs, on a local disk. They hold what was accepted until it is in the lake.",
        ),
        key(
            "log-size",
            Form::Size,
            Is("4GiB"),
            "Bytes that the write-ahead log of one source may have. When it is full, requests are refused with 503.",
        ),
        key(
            "idempotency-window",
            Form::Duration,
            Is("1h"),
            "How long a repeated event or `Idempotency-Key` is recognised. It survives restarts.",
        ),
        key(
            "idempotency-limit",
            Form::Count,
            Is("1000000"),
            "How many of them are remembered for one source, at about 100 bytes each; of more, the oldest are forgotten.",
        ),
        key("connections", Form::Count, Is("1024"), "Connections at a time. One more is refused with 503."),
        key("max-body", Form::Size, Is("16MiB"), "The largest body of a request, as it is sent."),
        key("max-decoded", Form::Size, Is("64MiB"), "The largest body of a request, once it is decompressed."),
        key(
            "keys",
            Form::Tables(&SERVER_KEY),
            Means("none: everybody on this machine may send"),
            "Who may send, by name.",
        ),
    ],
    later: &[],
};

pub static SERVER_KEY: Group = Group {
    id: "server-keys",
    keys: &[
        key("token", Form::Secret, Means("none"), "A bearer token: `Authorization: Bearer TOKEN`."),
        key(
            "hmac",
            Form::Secret,
            Means("none"),
            "A secret that requests are signed with. A key has either `token` or `hmac`.",
        ),
        key("sources", Form::Kinds, Means("all"), "The sources that this key may send to."),
    ],
    later: &[],
};
