//! The function as a platform deploys and starts it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::events::FLEET;
use crate::support::lambda::{BOOTSTRAP, Deployed, command};
use crate::support::ministack::Ministack;
use crate::support::tools::{python, root};

#[test]
fn a_platform_delivers_a_stream_and_queues_to_the_function() {
    let platform = Ministack::start("lambda,kinesis,sqs,s3,iam");
    let lake = |name: &str, url: &str| {
        format!(
            "\n[lakes.{name}]\nurl = \"{url}\"\nendpoint = \"{}\"\nregion = \"us-east-1\"\n\
             access-key-id = \"env:AWS_ACCESS_KEY_ID\"\nsecret-access-key = \"env:AWS_SECRET_ACCESS_KEY\"\n",
            platform.url()
        )
    };
    let source = |name: &str, more: &str| {
        FLEET.replace("telemetry", name).replace("http = true", &format!("http = true\n{more}")) + "lake = \"main\"\n\n"
    };
    let (main, incoming) = (lake("main", "s3://exports/lake/"), lake("incoming", "s3://incoming/"));
    let sources = source("telemetry", "") + &source("orders", "") + &source("incoming", "lake = \"incoming\"");
    let folder = tempfile::tempdir().unwrap();
    let arguments = [platform.url(), BOOTSTRAP.to_owned(), sources + &main + &incoming];
    let printed: Value = serde_json::from_str(&python(folder.path(), "lambda_platform.py", &arguments)).unwrap();
    let ids: BTreeMap<String, usize> = serde_json::from_value(printed["ids"].clone()).unwrap();
    let expected = [("k", 300), ("m", 30), ("o", 5)];
    assert_eq!(
        ids,
        expected.iter().flat_map(|(kind, count)| (0..*count).map(move |n| (format!("{kind}{n}"), 1))).collect()
    );
    assert_eq!(printed["put_aside"], json!(["of no object"]));
    assert_eq!(printed["schedule"], json!({"error": null, "answer": {}}));
}

#[test]
fn the_example_is_right_once_it_names_a_bucket() {
    let folder = root().join("examples/aws-lambda");
    let text = std::fs::read_to_string(folder.join("lakeport.toml")).unwrap();
    let parse =
        |text: &str| lakeport::config::parse(text, &folder.join("lakeport.toml"), &|_| Some("secret".to_owned()));
    let plan = parse(&text.replace("LAKE-BUCKET", "contoso-lake")).unwrap();
    assert_eq!(plan.exports[0].source.name, "telemetry");
    // The one that it has is none.
    assert!(parse(&text).unwrap_err().to_string().contains("not a bucket's name"));
}

#[test]
fn a_start_that_cannot_work_says_why() {
    let start = |deployed: &Deployed, variables: &[(&str, &str)], without: &str| {
        let mut command = command(deployed, SocketAddr::from((Ipv4Addr::LOCALHOST, 9)));
        let output =
            command.envs(variables.iter().copied()).env_remove(without).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let deployed = Deployed::new(FLEET);
    let error = start(&deployed, &[], "AWS_LAMBDA_RUNTIME_API");
    assert!(error.contains("AWS_LAMBDA_RUNTIME_API is not set") && error.contains("provided.al2023"), "{error}");
    let error = start(&deployed, &[("LAKEPORT_SOURCE", "telemetri")], "");
    assert!(error.contains("LAKEPORT_SOURCE is `telemetri`") && error.contains("did you mean `telemetry`?"), "{error}");
    let error = start(&deployed, &[("LAKEPORT_CONFIG", "other.toml")], "");
    assert!(error.contains("other.toml"), "{error}");
}
