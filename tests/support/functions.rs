//! A function app whose custom handler is `lakeport functions`, and the invocations that its host would send.
//!
//! Payloads are written from the host's documents and source; none was captured from a live host.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::process::{Child, ExitStatus, Stdio};

use serde_json::{Value, json};

use super::http::{Response, request};
use super::lake_folder::Installation;
use super::process::{signal, wait_until};
use super::servers::free_port;

/// An instance of a function app at work.
pub struct Instance {
    child: Child,
    pub address: SocketAddr,
}

impl Instance {
    /// Starts `lakeport functions` in the folder of an installation.
    pub fn start(app: &Installation) -> Instance {
        Instance::start_with(app, &[])
    }

    /// The same with environment variables.
    pub fn start_with(app: &Installation, variables: &[(&str, &str)]) -> Instance {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut command = app.command(&["functions"]);
        command.env("FUNCTIONS_CUSTOMHANDLER_PORT", address.port().to_string()).envs(variables.iter().copied());
        let child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
        wait_until("the handler listens", || TcpStream::connect(address).is_ok());
        Instance { child, address }
    }

    /// Invokes a function.
    pub fn call(&self, function: &str, body: &Value) -> Response {
        self.try_call(function, body).unwrap()
    }

    /// Invokes a function of an instance that may be killed meanwhile.
    pub fn try_call(&self, function: &str, body: &Value) -> std::io::Result<Response> {
        let headers = [("Content-Type", "application/json"), ("X-Azure-Functions-InvocationId", "an-id")];
        request(self.address, "POST", &format!("/{function}"), &headers, body.to_string().as_bytes())
    }

    /// Invokes a function, and wants it to succeed.
    pub fn succeed(&self, function: &str, body: &Value) {
        let response = self.call(function, body);
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.json(), json!({"Outputs": {}, "Logs": [], "ReturnValue": null}));
    }

    /// The value of a metric without labels.
    pub fn metric(&self, name: &str) -> f64 {
        let metrics = request(self.address, "GET", "/metrics", &[], b"").unwrap();
        let metrics = String::from_utf8(metrics.body).unwrap();
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn stop(self) {
        assert!(self.end().success());
    }

    /// Tells it to end, and waits until it has.
    pub fn end(mut self) -> ExitStatus {
        signal(&self.child, libc::SIGTERM);
        self.child.wait().unwrap()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A lake `main` that accepts connections and answers nothing. Its secret is the variable `LAKE_KEY`.
pub fn silent_lake(listener: &TcpListener) -> String {
    format!(
        "[lakes.main]\nurl = \"s3://bucket/lake/\"\nendpoint = \"http://{}\"\nregion = \"eu-central-1\"\naccess-key-id = \"id\"\n\
         secret-access-key = \"env:LAKE_KEY\"\n",
        listener.local_addr().unwrap()
    )
}

/// Events of a hub's partition with these sequence numbers; the ID in each body is made of both.
pub fn events(partition: &str, numbers: Range<u64>) -> Value {
    let bodies = numbers.clone().map(|n| format!(r#"{{"id":"{partition}-{n}"}}"#)).collect::<Vec<_>>();
    events_of(partition, numbers.start, &bodies)
}

/// Events of a hub's partition with these bodies, from the sequence number `first` on, which has a tenth of a second for each.
pub fn events_of(partition: &str, first: u64, bodies: &[String]) -> Value {
    let text = |values: Vec<Value>| Value::String(Value::Array(values).to_string());
    let each = |value: &dyn Fn(u64) -> Value| text((first..first + bodies.len() as u64).map(value).collect());
    json!({
        "Data": {"events": each(&|n| Value::String(bodies[(n - first) as usize].clone()))},
        "Metadata": {
            "PartitionContext": {"EventHubName": "hub", "ConsumerGroup": "$Default", "PartitionId": partition},
            "SequenceNumberArray": each(&|n| n.into()),
            "OffsetArray": each(&|n| Value::String((n * 100).to_string())),
            "EnqueuedTimeUtcArray": each(&|n| {
                let (minutes, tenths) = (n / 600, n % 600);
                format!("2026-11-21T{:02}:{:02}:{:02}.{}25", minutes / 60, minutes % 60, tenths / 10, tenths % 10).into()
            }),
            "PropertiesArray": each(&|_| json!({})),
            "SystemPropertiesArray": each(&|_| json!({"iothub-connection-device-id": "d1"})),
        }
    })
}

/// A message of a storage queue. As the host does, members of a body that is an object stand over what `Metadata` says, whatever the
/// case of their names.
pub fn message(id: &str, body: &str, deliveries: u32) -> Value {
    let mut metadata =
        json!({"DequeueCount": deliveries.to_string(), "Id": id, "PopReceipt": "x", "QueueTrigger": body});
    if let Ok(Value::Object(members)) = serde_json::from_str(body) {
        let metadata = metadata.as_object_mut().unwrap();
        for (name, value) in members {
            let known = metadata.keys().find(|known| known.eq_ignore_ascii_case(&name)).cloned();
            metadata.insert(known.unwrap_or(name), value);
        }
    }
    json!({"Data": {"message": body}, "Metadata": metadata})
}

/// A blob that is new or was changed. The host sends what is in it; nothing of that is used.
pub fn blob(container: &str, name: &str, etag: Option<&str>) -> Value {
    let text = |text: &str| Value::String(text.to_owned()).to_string();
    json!({
        "Data": {"blob": text("not what is in the store")},
        "Metadata": {
            "BlobTrigger": text(&format!("{container}/{name}")),
            "Uri": text(&format!("https://account.blob.core.windows.net/{container}/{name}")),
            "Properties": json!({"ETag": etag, "Length": 3}).to_string(),
            "Metadata": "{}",
        }
    })
}
