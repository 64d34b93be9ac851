//! Who may send.

use lakeport_serve::*;

use crate::support::*;

const TOKEN: &str = "a-token-of-32-bytes-0123456789ab";

#[tokio::test]
async fn a_bearer_token_opens_its_sources_and_no_others() {
    let mut settings = loopback();
    settings.keys.push(Key::bearer("team", TOKEN).for_sources(["plain", "gone"]));
    let server = start(settings).await;
    let bearer = format!("Bearer {TOKEN}");
    let post = async |path: &str, authorization: &str| {
        server.post(path, &[LINES, ("authorization", authorization)], "{}").await
    };
    assert_eq!(post("/v1/ingest/plain", &bearer).await.status, 202);
    let wrong = post("/v1/ingest/plain", "Bearer wrong").await;
    wrong.problem(401, "unauthenticated");
    assert!(wrong.head.contains("www-authenticate: bearer"), "{}", wrong.head);
    server.lines("{}").await.problem(401, "unauthenticated");
    // A key does not tell which of the sources of others there are.
    post("/v1/ingest/other-team", &bearer).await.problem(403, "forbidden");
    post("/v1/ingest/none", &bearer).await.problem(403, "forbidden");
    post("/v1/ingest/gone", &bearer).await.problem(404, "not-found");
    assert_eq!(server.memory.kept("plain").len(), 1);
}

#[tokio::test]
async fn a_request_is_refused_before_its_body_is_read() {
    let mut settings = loopback();
    settings.keys.push(Key::bearer("team", TOKEN));
    let server = start(settings).await;
    let head = "POST /v1/ingest/plain HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\nexpect: 100-continue\r\n\r\n";
    let reply = Reply::parse(&server.raw(head.as_bytes()).await);
    reply.problem(401, "unauthenticated");
}

#[tokio::test]
async fn keys_are_rotated_while_the_server_runs() {
    let mut settings = loopback();
    settings.keys.push(Key::bearer("old", TOKEN));
    let server = start(settings).await;
    let new = "another-token-of-32-bytes-123456";
    let post = async |token: &str| {
        server.post("/v1/ingest/plain", &[LINES, ("authorization", &format!("Bearer {token}"))], "{}").await.status
    };
    assert_eq!((post(TOKEN).await, post(new).await), (202, 401));
    server.handle.replace_keys(vec![Key::bearer("old", TOKEN), Key::bearer("new", new)]).unwrap();
    assert_eq!((post(TOKEN).await, post(new).await), (202, 202));
    server.handle.replace_keys(vec![Key::bearer("new", new)]).unwrap();
    assert_eq!((post(TOKEN).await, post(new).await), (401, 202));
    assert!(server.handle.replace_keys(vec![Key::bearer("new", "short")]).is_err());
    assert_eq!(post(new).await, 202);
}

#[tokio::test]
async fn an_open_address_without_authentication_is_refused() {
    for (address, is_good) in [
        ("127.0.0.1:0", true),
        ("127.9.9.9:0", true),
        ("[::1]:0", true),
        ("[::ffff:127.0.0.1]:0", true),
        ("0.0.0.0:0", false),
        ("[::]:0", false),
        ("10.0.0.1:0", false),
        ("[::ffff:10.0.0.1]:0", false),
    ] {
        let mut settings = Settings::new(address.parse().unwrap());
        assert_eq!(settings.check().is_ok(), is_good, "{address}");
        settings.keys.push(Key::bearer("k", TOKEN));
        assert!(settings.check().is_ok(), "{address}");
    }
}
