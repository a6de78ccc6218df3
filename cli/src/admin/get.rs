//! One GET over HTTP/1.0: small, blocking, with an end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde::de::DeserializeOwned;

/// Bytes of an answer, head included.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Fetches a page and reads it as JSON.
///
/// # Errors
/// Names the address and the flag if no server listens there; else says what came back.
pub(super) fn json<T: DeserializeOwned>(at: SocketAddr, path: &str) -> anyhow::Result<T> {
    let body = page(at, path)?;
    serde_json::from_str(&body)
        .with_context(|| format!("{at}: the answer is not from a shoal of this version"))
}

fn page(at: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, CONNECT_TIMEOUT).map_err(|error| {
        anyhow!(
            "no server answers at {at} ({error}); is it running? --at IP:PORT names another metrics address"
        )
    })?;
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    stream.set_write_timeout(Some(READ_TIMEOUT))?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut answer))
        .with_context(|| format!("{at} stopped answering; is this the metrics port (--at)?"))?;
    if ANSWER_BYTES_MAX < answer.len() as u64 {
        bail!("{at}: the answer is longer than {ANSWER_BYTES_MAX} bytes");
    }
    body(&answer).with_context(|| at.to_string())
}

/// The body of an answer whose status is 200.
fn body(answer: &[u8]) -> anyhow::Result<String> {
    let text = std::str::from_utf8(answer).ok().filter(|text| text.starts_with("HTTP/1."));
    let (head, body) = text
        .and_then(|text| text.split_once("\r\n\r\n"))
        .context("this is no metrics port; --at takes the one of a metadata server")?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        Some(status) => bail!("status {status}: {}", body.trim()),
        None => bail!("the answer has no status"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_of_status_200_has_a_body() {
        assert_eq!(body(b"HTTP/1.0 200 OK\r\nA: b\r\n\r\n{}").unwrap(), "{}");
        assert!(
            body(b"HTTP/1.1 404 Not Found\r\n\r\nno\n").unwrap_err().to_string().contains("status 404: no")
        );
        for bad in [
            &b""[..],
            b"HTTP/1.0 200 OK\r\n",
            b"SSH-2.0\r\n\r\n",
            b"HTTP/1.0 \xff\r\n\r\n",
            b"HTTP/1.0\r\n\r\n",
        ] {
            assert!(body(bad).is_err());
        }
    }

    #[test]
    fn a_refused_connection_names_address_and_flag() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let message = page(free, "/status").unwrap_err().to_string();
        assert!(message.contains(&free.to_string()) && message.contains("--at"), "{message}");
    }
}
