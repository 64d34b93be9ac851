//! The least that a durable endpoint does: axum takes the body, a thread appends what waits to a file and flushes it once.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use tokio::sync::oneshot;

/// Bytes of a group, as in Lakeport's log.
const GROUP: usize = 8 << 20;

type Waiting = (Bytes, oneshot::Sender<()>);

fn append(mut file: File, waiting: &Receiver<Waiting>) {
    while let Ok((body, answer)) = waiting.recv() {
        let (mut group, mut answers) = (body.to_vec(), vec![answer]);
        while group.len() < GROUP
            && let Ok((body, answer)) = waiting.try_recv()
        {
            group.extend_from_slice(&body);
            answers.push(answer);
        }
        file.write_all(&group).expect("write");
        file.sync_data().expect("fdatasync");
        answers.into_iter().for_each(|answer| _ = answer.send(()));
    }
}

async fn take(State(log): State<SyncSender<Waiting>>, body: Bytes) -> StatusCode {
    let (answer, done) = oneshot::channel();
    match log.try_send((body, answer)) {
        Ok(()) if done.await.is_ok() => StatusCode::ACCEPTED,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Serves on a free port until the process ends.
pub fn serve(folder: &Path) -> SocketAddr {
    let file = OpenOptions::new().append(true).create_new(true).open(folder.join("log")).expect("open");
    let (sender, receiver) = sync_channel(4096);
    thread::spawn(move || append(file, &receiver));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.set_nonblocking(true).expect("nonblocking");
    let address = listener.local_addr().expect("address");
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("listener");
            let limit = axum::extract::DefaultBodyLimit::max(64 << 20);
            let router = Router::new().route("/v1/ingest/signals", post(take)).layer(limit).with_state(sender);
            axum::serve(listener, router).await.expect("serve");
        });
    });
    address
}
