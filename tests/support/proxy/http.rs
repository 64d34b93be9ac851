//! As much of HTTP/1.1 as tells where a message ends. Bytes pass as they came.

use std::io::{self, BufRead, Read};

/// More than any header or body of a test's store.
const LONGEST_HEAD: u64 = 64 << 10;
const LONGEST_BODY: u64 = 64 << 20;

/// The first line and the headers of a request or a reply.
pub struct Head {
    /// As they came, with the empty line.
    pub bytes: Vec<u8>,
    first_line: String,
    length: Option<u64>,
    is_chunked: bool,
    /// No further message comes on this connection.
    pub closes: bool,
}

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Length(u64),
    Chunked,
    /// With the connection.
    UntilEnd,
}

impl Head {
    /// Reads one; `None` where the connection ended before it.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
        let mut reader = reader.take(LONGEST_HEAD);
        let mut bytes = Vec::new();
        let mut head =
            Head { bytes: vec![], first_line: String::new(), length: None, is_chunked: false, closes: false };
        loop {
            let start = bytes.len();
            reader.read_until(b'\n', &mut bytes)?;
            let line = &bytes[start..];
            if line.is_empty() && start == 0 {
                return Ok(None);
            }
            if !line.ends_with(b"\n") {
                return Err(invalid("a head without an end"));
            }
            let line = String::from_utf8_lossy(line).trim_end().to_owned();
            if start == 0 {
                head.first_line = line;
            } else if line.is_empty() {
                head.bytes = bytes;
                return Ok(Some(head));
            } else {
                head.header(&line)?;
            }
        }
    }

    fn header(&mut self, line: &str) -> io::Result<()> {
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("a header without a colon"))?;
        let value = value.trim().to_ascii_lowercase();
        match name.trim().to_ascii_lowercase().as_str() {
            "content-length" => self.length = Some(value.parse().map_err(|_| invalid("a length that is no number"))?),
            "transfer-encoding" => self.is_chunked = value.ends_with("chunked"),
            "connection" => self.closes = value.contains("close"),
            _ => {}
        }
        Ok(())
    }

    /// A request's method.
    pub fn method(&self) -> &str {
        self.first_line.split(' ').next().unwrap_or_default()
    }

    /// A request's path and query.
    pub fn target(&self) -> &str {
        self.first_line.split(' ').nth(1).unwrap_or_default()
    }

    /// The names of its headers, in lower case.
    pub fn headers(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.bytes);
        let lines = text.lines().skip(1);
        lines.filter_map(|line| Some(line.split_once(':')?.0.trim().to_ascii_lowercase())).collect()
    }

    /// As it came, and that its connection ends with it.
    pub fn closing(&self) -> Vec<u8> {
        let end = self.bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        [&self.bytes[..end], b"connection: close\r\n", &self.bytes[end..]].concat()
    }

    /// A reply's status.
    pub fn status(&self) -> Option<u16> {
        self.first_line.split(' ').nth(1)?.parse().ok()
    }

    /// Where the body of a request ends.
    pub fn request_body(&self) -> Body {
        match self.is_chunked {
            true => Body::Chunked,
            false => Body::Length(self.length.unwrap_or(0)),
        }
    }

    /// Where the body of a reply to this method ends.
    pub fn reply_body(&self, method: &str) -> Body {
        let has_none = method == "HEAD" || matches!(self.status(), Some(100..=199 | 204 | 304));
        match self.length {
            _ if has_none => Body::Length(0),
            _ if self.is_chunked => Body::Chunked,
            Some(length) => Body::Length(length),
            None => Body::UntilEnd,
        }
    }
}

/// Reads a body, with its chunks' sizes where it has chunks.
pub fn read_body(reader: &mut impl BufRead, body: Body) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match body {
        Body::Length(length) => read_exactly(reader, length, &mut bytes)?,
        Body::UntilEnd => {
            reader.take(LONGEST_BODY).read_to_end(&mut bytes)?;
        }
        Body::Chunked => loop {
            let size = read_line(reader, &mut bytes)?;
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| invalid("a chunk whose size is no number"))?;
            if size == 0 {
                // Trailers, and the empty line.
                while !read_line(reader, &mut bytes)?.trim().is_empty() {}
                break;
            }
            read_exactly(reader, size + 2, &mut bytes)?;
        },
    }
    Ok(bytes)
}

fn read_line(reader: &mut impl BufRead, bytes: &mut Vec<u8>) -> io::Result<String> {
    let start = bytes.len();
    reader.take(LONGEST_HEAD).read_until(b'\n', bytes)?;
    match bytes.ends_with(b"\n") {
        true => Ok(String::from_utf8_lossy(&bytes[start..]).into_owned()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Reads so many bytes behind those that are there.
fn read_exactly(reader: &mut impl BufRead, length: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    if bytes.len() as u64 + length > LONGEST_BODY {
        return Err(invalid("a body that is too long"));
    }
    match reader.take(length).read_to_end(bytes)? as u64 == length {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[test]
fn messages_end_where_they_say() {
    let read = |text: &str| {
        let mut reader = text.as_bytes();
        let head = Head::read(&mut reader).unwrap().unwrap();
        let request = read_body(&mut reader, head.request_body()).unwrap();
        (head, String::from_utf8(request).unwrap(), String::from_utf8(reader.to_vec()).unwrap())
    };
    let (head, body, rest) = read("PUT /a HTTP/1.1\r\nContent-Length: 3\r\nConnection: Close\r\n\r\nabcGET");
    assert_eq!((head.method(), body.as_str(), rest.as_str(), head.closes), ("PUT", "abc", "GET", true));
    assert_eq!((head.target(), head.headers()), ("/a", vec!["content-length".to_owned(), "connection".to_owned()]));
    assert!(head.closing().starts_with(b"PUT /a HTTP/1.1\r\nconnection: close\r\nContent-Length: 3\r\n"));
    let chunks = "5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: 1\r\n\r\n";
    let (_, body, rest) = read(&format!("PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}next"));
    assert_eq!((body.as_str(), rest.as_str()), (chunks, "next"));
    let (head, ..) = read("HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!((head.reply_body("GET"), head.reply_body("HEAD")), (Body::UntilEnd, Body::Length(0)));
    assert!(Head::read(&mut &b""[..]).unwrap().is_none());
    assert!(Head::read(&mut &b"GET / HTTP/1.1\r\n"[..]).is_err());
    assert!(read_body(&mut &b"ab"[..], Body::Length(3)).is_err());
}
