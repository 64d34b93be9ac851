//! As much of Google Cloud Storage's XML API as a lake uses, in this process, on loopback: objects with generations,
//! `x-goog-if-generation-match`, copies, lists in pages and multipart uploads.
//! <https://cloud.google.com/storage/docs/xml-api/overview>

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use url::Url;

/// Keys of one page of a list.
const PAGE: usize = 500;

/// The service with one bucket. It ends with the process.
pub struct FakeGcs {
    port: u16,
}

#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, (u64, Vec<u8>)>,
    uploads: HashMap<String, BTreeMap<usize, Vec<u8>>>,
    generation: u64,
}

struct Request {
    method: String,
    bucket: String,
    key: String,
    query: HashMap<String, String>,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

struct Response {
    status: &'static str,
    generation: u64,
    body: Vec<u8>,
    /// The header that says which part of the object the body is.
    part: String,
}

impl FakeGcs {
    /// Starts the service; `bucket` is the only one there is.
    pub fn start(bucket: &str) -> FakeGcs {
        FakeGcs::start_for(bucket, None)
    }

    /// The same for those alone who have this token.
    pub fn start_for(bucket: &str, token: Option<&str>) -> FakeGcs {
        let wanted = token.map(|token| format!("Bearer {token}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let (name, state) = (bucket.to_owned(), Arc::new(Mutex::new(Bucket::default())));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (name, state, wanted) = (name.clone(), state.clone(), wanted.clone());
                // A connection that breaks is the client's to notice.
                std::thread::spawn(move || serve(stream, &name, wanted.as_deref(), &state));
            }
        });
        FakeGcs { port }
    }

    /// `http://127.0.0.1:{port}`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// The time that the service tells.
#[expect(clippy::disallowed_methods, reason = "a lake compares it with the real clock")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

fn serve(stream: TcpStream, bucket: &str, wanted: Option<&str>, state: &Mutex<Bucket>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let request = read(&mut reader)?;
        let is_known = wanted.is_none() || request.headers.get("authorization").map(String::as_str) == wanted;
        let response = match request.bucket == bucket {
            _ if !is_known => xml("401 Unauthorized", "<Error><Code>AuthenticationRequired</Code></Error>"),
            true => answer(&request, &mut state.lock().expect("no handler panics")),
            false => xml("404 Not Found", "<Error><Code>NoSuchBucket</Code></Error>"),
        };
        let head = format!(
            "HTTP/1.1 {}\r\ncontent-length: {}\r\netag: \"{}\"\r\nx-goog-generation: {}\r\n\
             last-modified: {}\r\n{}\r\n",
            response.status,
            response.body.len(),
            response.generation,
            response.generation,
            now().format("%a, %d %b %Y %H:%M:%S GMT"),
            response.part,
        );
        writer.write_all(head.as_bytes()).ok()?;
        if request.method != "HEAD" {
            writer.write_all(&response.body).ok()?;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&length| length > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    let length = headers.get("content-length").map_or(Some(0), |length| length.parse().ok())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let url = Url::parse(&format!("http://host{target}")).ok()?;
    let query = url.query_pairs().into_owned().collect();
    let (bucket, key) = url.path()[1..].split_once('/').unwrap_or((&url.path()[1..], ""));
    Some(Request { method, bucket: decoded(bucket), key: decoded(key), query, headers, body })
}

fn answer(request: &Request, bucket: &mut Bucket) -> Response {
    let Request { method, key, query, headers, body, .. } = request;
    let upload = query.get("uploadId");
    match method.as_str() {
        "GET" if key.is_empty() => list(query, bucket),
        "GET" | "HEAD" => match bucket.objects.get(key) {
            Some((generation, _))
                if query.get("generation").is_some_and(|wanted| *wanted != generation.to_string()) =>
            {
                xml("404 Not Found", "<Error><Code>NoSuchKey</Code></Error>")
            }
            Some((generation, bytes)) => get(headers.get("range"), *generation, bytes),
            None => xml("404 Not Found", "<Error><Code>NoSuchKey</Code></Error>"),
        },
        "DELETE" => match upload
            .map_or_else(|| bucket.objects.remove(key).is_some(), |id| bucket.uploads.remove(id).is_some())
        {
            true => xml("204 No Content", ""),
            false => xml("404 Not Found", "<Error><Code>NoSuchKey</Code></Error>"),
        },
        // A part may still be on its way when its upload is aborted.
        "PUT" if upload.is_some() => match bucket.uploads.get_mut(&query["uploadId"]) {
            Some(parts) => {
                parts.insert(query["partNumber"].parse().expect("parts are numbered"), body.clone());
                xml("200 OK", "")
            }
            None => xml("404 Not Found", "<Error><Code>NoSuchUpload</Code></Error>"),
        },
        "PUT" => {
            let found = bucket.objects.get(key).map_or(0, |(generation, _)| *generation);
            if headers.get("x-goog-if-generation-match").is_some_and(|wanted| *wanted != found.to_string()) {
                return xml("412 Precondition Failed", "<Error><Code>PreconditionFailed</Code></Error>");
            }
            match headers.get("x-goog-copy-source").map(|source| decoded(source)) {
                None => put(bucket, key, body.clone()),
                Some(source) => {
                    let (_, from) = source.split_once('/').expect("a source is a bucket and a key");
                    match bucket.objects.get(from).cloned() {
                        Some((_, bytes)) => put(bucket, key, bytes),
                        None => xml("404 Not Found", "<Error><Code>NoSuchKey</Code></Error>"),
                    }
                }
            }
        }
        "POST" if query.contains_key("uploads") => {
            bucket.generation += 1;
            let id = format!("upload-{}", bucket.generation);
            bucket.uploads.insert(id.clone(), BTreeMap::new());
            xml(
                "200 OK",
                &format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"),
            )
        }
        "POST" => {
            let parts = bucket.uploads.remove(&query["uploadId"]).expect("the upload was begun");
            let completed = put(bucket, key, parts.into_values().flatten().collect());
            let body = "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>";
            Response { body: body.into(), ..completed }
        }
        other => panic!("{other} is not a request of a lake"),
    }
}

/// The object, or the part of it that `range` asks for: `bytes=FIRST-LAST`, cut off where the object ends.
fn get(range: Option<&String>, generation: u64, bytes: &[u8]) -> Response {
    let Some((first, last)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
        return Response { status: "200 OK", generation, body: bytes.to_vec(), part: String::new() };
    };
    let number = |text: &str| text.parse::<usize>().expect("a range is two numbers");
    let (first, end) = (number(first), bytes.len().min(number(last) + 1));
    if first >= end {
        return xml("416 Range Not Satisfiable", "<Error><Code>InvalidRange</Code></Error>");
    }
    let part = format!("content-range: bytes {first}-{}/{}\r\n", end - 1, bytes.len());
    Response { status: "206 Partial Content", generation, body: bytes[first..end].to_vec(), part }
}

fn put(bucket: &mut Bucket, key: &str, bytes: Vec<u8>) -> Response {
    bucket.generation += 1;
    bucket.objects.insert(key.to_owned(), (bucket.generation, bytes));
    Response { status: "200 OK", generation: bucket.generation, body: Vec::new(), part: String::new() }
}

fn list(query: &HashMap<String, String>, bucket: &Bucket) -> Response {
    let prefix = query.get("prefix").map_or("", String::as_str);
    let after = query.get("continuation-token").map_or("", String::as_str);
    let keys: Vec<_> =
        bucket.objects.iter().filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after).collect();
    let page = &keys[..keys.len().min(PAGE)];
    let mut body = String::from("<ListBucketResult>");
    for (key, (generation, bytes)) in page {
        let key = key.replace('&', "&amp;").replace('<', "&lt;");
        body.push_str(&format!(
            "<Contents><Key>{key}</Key><Size>{}</Size><ETag>\"{generation}\"</ETag>\
             <LastModified>{}</LastModified></Contents>",
            bytes.len(),
            now().format("%Y-%m-%dT%H:%M:%S.000Z"),
        ));
    }
    if let (Some((last, _)), true) = (page.last(), keys.len() > PAGE) {
        body.push_str(&format!("<NextContinuationToken>{last}</NextContinuationToken>"));
    }
    body.push_str("</ListBucketResult>");
    xml("200 OK", &body)
}

fn xml(status: &'static str, body: &str) -> Response {
    Response { status, generation: 0, body: body.into(), part: String::new() }
}

/// Percent signs taken back, once.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).expect("hexadecimal digits are ASCII");
                bytes.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits follow a percent sign"));
                tail
            }
            (byte, tail) => {
                bytes.push(*byte);
                tail
            }
        };
    }
    String::from_utf8(bytes).expect("keys are text")
}
