//! Where no network namespace can be made: a TCP proxy before the gateway that delays bytes and
//! paces them. It knows no packets, so that it can lose none, and TCP's own answer to distance is
//! not in what it shows; only that of the windows above TCP is.

use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

use super::Shape;

/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;

/// How connections are slowed.
#[derive(Debug)]
pub(crate) struct Proxy(pub(crate) Shape);

impl Proxy {
    pub(super) fn shape(&self) -> Shape {
        self.0
    }

    /// Listens before a port of loopback; says where. It ends with the runtime.
    pub(super) async fn before(&self, port: u16) -> Result<u16> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let own = listener.local_addr()?.port();
        let shape = self.0;
        spawn_local(async move {
            while let Ok((near, _)) = listener.accept().await {
                if let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await {
                    let ((near_in, near_out), (far_in, far_out)) =
                        (near.into_split(), far.into_split());
                    spawn_local(slow(near_in, far_out, shape));
                    spawn_local(slow(far_in, near_out, shape));
                }
            }
        });
        Ok(own)
    }
}

async fn slow(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shape: Shape) {
    // What is under way at most: the bandwidth-delay product, and a little to be read ahead.
    let chunks = (shape.rate * shape.rtt / 2.0 / 1024.0).clamp(4.0, 65_536.0);
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(whole(chunks));
    spawn_local(async move {
        let mut free = Instant::now();
        loop {
            let mut chunk = vec![0; CHUNK];
            let Ok(length @ 1..) = from.read(&mut chunk).await else {
                return;
            };
            chunk.truncate(length);
            let leaves = f64::from(u32::try_from(length).unwrap_or_default()) / shape.rate;
            free = free.max(Instant::now()) + Duration::from_secs_f64(leaves);
            sleep_until(free).await;
            let arrives = free + Duration::from_secs_f64(shape.rtt / 2.0);
            if sender.send((arrives, chunk)).await.is_err() {
                return;
            }
        }
    });
    while let Some((arrives, chunk)) = receiver.recv().await {
        sleep_until(arrives).await;
        if to.write_all(&chunk).await.is_err() {
            return;
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped by the caller"
)]
fn whole(number: f64) -> usize {
    number as usize
}
