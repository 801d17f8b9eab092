//! Readers that stop.

use crate::{
    common::sum::Seeded,
    setup::{joined, tcp},
    wire::within,
};
use std::time::Duration;
use tokio::{io::AsyncWriteExt, time::timeout};

/// Far above all windows and buffers on the way: sockets, TLS, both streams.
const MOST: usize = 48 * 1024 * 1024;

/// Writes until nothing was taken for two seconds; answers how much was.
async fn fill(io: &mut (impl tokio::io::AsyncWrite + Unpin), block: &[u8]) -> usize {
    let mut sent = 0;
    loop {
        let from = sent % block.len();
        let wrote = timeout(Duration::from_secs(2), io.write(&block[from..])).await;
        let Ok(n) = wrote else { return sent };
        sent += n.unwrap();
        assert!(sent < MOST, "{sent} bytes are taken for nobody who reads");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_only_its_window_and_others_pass() {
    let (tunnel, mut targets) = tcp().await;
    let block = Seeded::bytes(5, 1024 * 1024);
    let (mut stalled, mut target) = joined(&tunnel, &mut targets).await;
    let sent = fill(&mut target.io, &block).await;
    let (mut other, mut its) = joined(&tunnel, &mut targets).await;
    let many = Seeded::bytes(6, 8 * 1024 * 1024);
    let (got, ()) = tokio::join!(other.exactly(many.len()), its.send(&many));
    assert!(got == many, "another's bytes differ");
    let got = stalled.exactly(sent).await;
    for part in got.chunks(block.len()) {
        assert!(
            part == &block[..part.len()],
            "the stalled one's bytes differ"
        );
    }
    // The very last of what was held back has come, without anything after it.
    target.send("end").await;
    assert_eq!(stalled.exactly(3).await, b"end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_does_not_read_is_let_go_when_the_client_goes() {
    let (tunnel, mut targets) = tcp().await;
    let block = Seeded::bytes(7, 1024 * 1024);
    let (mut client, mut target) = joined(&tunnel, &mut targets).await;
    fill(&mut client.io, &block).await;
    drop(client);
    // It has read nothing: what it gets is what was on the way, and then a reset.
    let rest = within("the target's end", target.rest()).await;
    assert!(!rest.complete, "a cut upload looks complete");
}

/// A person may look at a page of a pager for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_may_stop_for_longer_than_a_dead_peer_is_waited_for() {
    let (tunnel, mut targets) = tcp().await;
    let block = Seeded::bytes(8, 1024 * 1024);
    let (mut reader, mut target) = joined(&tunnel, &mut targets).await;
    let (mut writer, mut slow) = joined(&tunnel, &mut targets).await;
    let (down, up) = tokio::join!(fill(&mut target.io, &block), fill(&mut writer.io, &block));
    tokio::time::sleep(Duration::from_secs(25)).await;
    // TLS in the test took more than the socket.
    let (got, taken, _) = tokio::join!(reader.exactly(down), slow.exactly(up), writer.io.flush());
    assert_eq!((got.len(), taken.len()), (down, up));
    target.send("still").await;
    assert_eq!(reader.exactly(5).await, b"still");
}
