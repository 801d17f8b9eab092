//! A scraper: HTTP to `/metrics`, and the samples of the answer.

use crate::wire::{Answer, DEADLINE, Wire, within};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};
use tokio::net::{TcpSocket, TcpStream};

pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0";
pub const TEXT: &str = "text/plain; version=0.0.4";

/// A connection from an address of its own, so that tests do not share a rate limit.
pub async fn connect(addr: SocketAddr) -> TcpStream {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let from = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 9, 0, 1)) + n % 60_000);
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    within("a connection", socket.connect(addr)).await.unwrap()
}

/// Gets a path, taking this type.
pub async fn get(addr: SocketAddr, path: &str, accept: &str) -> Answer {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {addr}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    );
    Wire::new(connect(addr).await).ask(request).await
}

/// The metrics as text.
pub async fn metrics(addr: SocketAddr, accept: &str) -> String {
    let answer = get(addr, "/metrics", accept).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let kind = answer.head.get("content-type").unwrap();
    assert!(
        kind.starts_with(accept.split(';').next().unwrap()),
        "{kind}"
    );
    answer.text()
}

/// Samples by their series as they are written.
#[derive(Debug)]
pub struct Samples(BTreeMap<String, f64>);

impl Samples {
    pub async fn of(addr: SocketAddr) -> Self {
        let text = metrics(addr, TEXT).await;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        });
        Self(samples.collect())
    }

    /// The value of a series that must be there.
    pub fn get(&self, series: &str) -> f64 {
        *self
            .0
            .get(series)
            .unwrap_or_else(|| panic!("no {series} in {:#?}", self.0.keys()))
    }
}

/// Scrapes until this series has a value that will do, and answers it.
pub async fn until(addr: SocketAddr, series: &str, does: impl Fn(f64) -> bool) -> f64 {
    let end = Instant::now() + DEADLINE;
    loop {
        let value = Samples::of(addr).await.get(series);
        if does(value) {
            return value;
        }
        assert!(Instant::now() < end, "{series} stays {value}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
