//! A path of 100 ms and 200 Mbit/s: how much of it a carrier fills.

use super::{moving::seeds, over};
use crate::{
    common::{
        gateway::Gateway,
        link::{Link, Path},
    },
    fixture::{Form, GatewayOf},
};
use std::time::{Duration, Instant};
use tokio::{io::AsyncReadExt, time::timeout};

/// Downloads for a while; the bytes of each second.
async fn seconds(loss: u64, count: usize) -> Vec<u64> {
    let origin = seeds().await;
    let gateway = Gateway::start();
    let link = Link::to(gateway.addr, Path::wide(loss));
    let tunnel = over(GatewayOf::Test(Box::new(gateway)), &link, &origin);
    let mut client = tunnel.connect(Form::Host).await;
    client.send(tunnel.get("/1/800000000")).await;
    client.head().await;
    let begun = Instant::now();
    let mut seconds = vec![0; count];
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = timeout(Duration::from_secs(30), client.io.read(&mut buffer));
        let read = read.await.expect("it stands still").unwrap();
        let second = usize::try_from(begun.elapsed().as_secs()).unwrap();
        match seconds.get_mut(second) {
            Some(bytes) if read > 0 => *bytes += read as u64,
            _ => return seconds,
        }
    }
}

#[expect(clippy::print_stdout, reason = "figures, for whoever runs it")]
fn report(loss: u64, seconds: &[u64]) {
    let rate = Path::wide(loss).rate;
    let percent = |bytes: u64| bytes * 100 / rate;
    let each: Vec<_> = seconds.iter().map(|bytes| percent(*bytes)).collect();
    let late = &seconds[seconds.len() / 2..];
    println!(
        "100 ms, 25 MB/s, {}.{} % loss: {} % of the link, {} % in the second half; by second {each:?}",
        loss / 10,
        loss % 10,
        percent(seconds.iter().sum::<u64>() / seconds.len() as u64),
        percent(late.iter().sum::<u64>() / late.len() as u64),
    );
}

/// `cargo test --release --test tunnel wide -- --ignored --nocapture --test-threads 1`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "half a minute for each figure, and a quiet machine"]
async fn how_much_of_a_wide_path_is_filled() {
    for loss in [0, 1, 10] {
        report(loss, &seconds(loss, 20).await);
    }
}

/// Far from the link's share, which a busy machine may not give, and far above what windows or
/// congestion control that do not fit would allow.
#[tokio::test(flavor = "multi_thread")]
async fn a_wide_path_is_used_even_where_packets_are_lost() {
    let seconds = seconds(10, 15).await;
    let late: u64 = seconds[10..].iter().sum();
    assert!(late > 5 * 2_000_000, "{seconds:?}");
}
