//! HTTP/1.1 as it goes over the wire: nothing tidies the path or the headers
//! up before the proxy sees them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// An answer, as far as it is looked at.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// Every value of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let fits = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
        self.headers.iter().filter(fits).map(|(_, value)| value.as_str()).collect()
    }

    /// The only value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} twice: {self:?}");
        all.first().copied()
    }

    /// The value that the answer gives a cookie.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        let mut values = self.all("set-cookie").into_iter().filter_map(|line| {
            let (pair, _) = line.split_once(';').unwrap_or((line, ""));
            pair.strip_prefix(name)?.strip_prefix('=').map(str::to_owned)
        });
        let first = values.next();
        assert!(values.next().is_none(), "{name} set twice: {self:?}");
        first
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }
}

/// Sends one request exactly as it is written here.
pub(crate) fn exchange(
    address: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    try_exchange(address, method, target, headers, body)
        .unwrap_or_else(|why| panic!("{method} {target}: {why}"))
}

pub(crate) fn try_exchange(
    address: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut request = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str(&format!("\r\n{body}"));
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    // A server that closes with something unread may reset.
    if let Err(why) = stream.read_to_end(&mut bytes)
        && bytes.is_empty()
    {
        return Err(why);
    }
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let at = at.ok_or_else(|| std::io::Error::other(format!("no head: {bytes:?}")))?;
    let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let pair = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_owned(), value.trim().to_owned())
    };
    let mut answer = Answer { status, headers: lines.map(pair).collect(), body: String::new() };
    let rest = &bytes[at + 4..];
    let chunked = answer.all("transfer-encoding").contains(&"chunked");
    let body = if chunked { unchunked(rest) } else { rest.to_vec() };
    answer.body = String::from_utf8_lossy(&body).into_owned();
    Ok(answer)
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(at) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..at]).unwrap().trim(), 16).unwrap();
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[at + 2..at + 2 + size]);
        rest = &rest[at + 2 + size + 2..];
    }
    body
}
