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
            "acknowledge",
            Form::Choice(&["log", "lake"]),
            Is("log"),
            "Where records are when a request is answered. `log`: in the write-ahead log, on a local disk; `lake`: in the lakes of all \
             exports, without a disk.",
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
            "Bytes that the write-ahead log of one source may have: at least three times `max-decoded` and 6MiB. When it is full, requests \
             are refused with 503.",
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
        key(
            "max-decoded",
            Form::Size,
            Is("64MiB"),
            "The largest body of a request, once it is decompressed. At most 64MiB.",
        ),
        key(
            "certificate",
            Form::Text,
            Means("none: no TLS"),
            "The server's certificate and those between it and its authority, a PEM file; with `private-key`.",
        ),
        key("private-key", Form::Text, Means("none"), "The path of the certificate's private key, a PEM file."),
        key(
            "client-authorities",
            Form::Text,
            Means("none"),
            "Authorities of clients, a PEM file: every client needs a certificate of one of them.",
        ),
        key(
            "webhook-origins",
            Form::Kinds,
            Means("none"),
            "Origins of CloudEvents' webhooks that may send, such as `eventgrid.azure.net`.",
        ),
        key(
            "stop-within",
            Form::Duration,
            Is("25s"),
            "How long the server may take to end: up to half of it for requests, and the rest for what was accepted to be exported.",
        ),
        key(
            "metrics",
            Form::Text,
            Means("`listen`"),
            "An address and port of their own for metrics and health, without TLS. They need no key on loopback; where other machines \
             reach it, one with `metrics = true`.",
        ),
        key(
            "metrics-open",
            Form::Flag,
            Is("false"),
            "Whether everybody who reaches the address `metrics` may read them without a key.",
        ),
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
        key(
            "sources",
            Form::Kinds,
            Means("all"),
            "The sources that this key may send to; `[]` is none, for a key that reads metrics.",
        ),
        key("metrics", Form::Flag, Is("false"), "Whether this key may read metrics, too."),
    ],
    later: &[],
};
