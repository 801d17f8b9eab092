//! A client of a program's own face, and what its answers look like.

use crate::wire::{Answer, DEADLINE, Wire, within};
use regex::Regex;
use serde_json::Value;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::net::TcpStream;

pub async fn connect(addr: SocketAddr) -> Wire<TcpStream> {
    let stream = within("a TCP connection", TcpStream::connect(addr)).await;
    Wire::new(stream.unwrap())
}

/// The head of a request; `more` are whole header lines.
pub fn head(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n")
}

/// The answer to one request on a connection of its own.
pub async fn ask(addr: SocketAddr, method: &str, path: &str, more: &str) -> Answer {
    let mut wire = connect(addr).await;
    wire.send(head(method, path, more)).await;
    wire.answer(method).await
}

pub async fn get(addr: SocketAddr, path: &str) -> Answer {
    ask(addr, "GET", path, "").await
}

pub fn json(answer: &Answer) -> Value {
    let text = answer.text();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Asks until the answer has this status and passes, or fails with the last one.
pub async fn until(
    addr: SocketAddr,
    path: &str,
    status: u16,
    passes: impl Fn(&Answer) -> bool,
) -> Answer {
    let end = Instant::now() + DEADLINE;
    loop {
        let answer = get(addr, path).await;
        if answer.status() == status && passes(&answer) {
            return answer;
        }
        let (first, text) = (&answer.head.first, answer.text());
        assert!(Instant::now() < end, "{path} is still {first}: {text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Fails unless `text` is `golden`, in which `<time>`, `<int>`, `<build>` and `<text>` stand for any
/// such value.
pub fn assert_golden(text: &str, golden: &str) {
    let mut pattern = regex::escape(golden);
    for (name, class) in [
        (
            "<time>",
            "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z",
        ),
        ("<int>", "[0-9]+"),
        ("<build>", "([0-9a-f]{8}|unknown)"),
        ("<version>", r"[0-9]+\.[0-9]+\.[0-9]+"),
        ("<text>", "[^\"]+"),
    ] {
        pattern = pattern
            .replace(&regex::escape(name), class)
            .replace(name, class);
    }
    let is = Regex::new(&format!("^{pattern}$")).unwrap().is_match(text);
    assert!(is, "this\n{text}\nis not\n{golden}");
}
