//! Datagrams of local senders, each by a connection of its own.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::{Client, ForwardError};
use super::listen::told;
use crate::relay::{Flow, Flows};
use crate::wire::capsule::{Capsule, Decoder};
use crate::wire::raw::RawProtocol;

/// After a failure a sender's datagrams are dropped this long, so that a flood of them is no flood
/// of connections.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves until it is told to stop. There is no end of datagrams to wait for.
pub(super) async fn serve(
    socket: UdpSocket,
    client: Rc<Client>,
    stop: CancellationToken,
    warn: fn(&str),
) -> Result<(), ForwardError> {
    let flows = TaskTracker::new();
    let lost = Cell::new(0_u64);
    let open = |flow: Flow| {
        let client = Rc::clone(&client);
        let stop = stop.clone();
        flows.spawn_local(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                carried = carry(&client, &flow) => if let Err(error) = carried {
                    warn(&format!("error: datagrams from {}: {}", flow.peer, told(&error)));
                    sleep(PAUSE).await;
                }
            }
        });
    };
    tokio::select! {
        failed = Flows::new(socket).run(open, |_| lost.set(lost.get() + 1)) => match failed? {},
        () = stop.cancelled() => {}
    }
    if lost.get() > 0 {
        warn(&format!(
            "note: {} datagrams were dropped: the gateway was behind",
            lost.get()
        ));
    }
    flows.close();
    flows.wait().await;
    Ok(())
}

async fn carry(client: &Client, flow: &Flow) -> Result<(), ForwardError> {
    let remote = client.open(RawProtocol::Udp).await?;
    let (mut from, mut to) = tokio::io::split(remote);
    let up = async {
        loop {
            for capsule in flow.queue.take().await {
                to.write_all(&capsule).await?;
            }
            to.flush().await?;
        }
    };
    let down = async {
        let (mut buffer, mut decoder) = (BytesMut::new(), Decoder::default());
        while from.read_buf(&mut buffer).await? > 0 {
            decoder.push(&buffer);
            buffer.clear();
            while let Some(capsule) = decoder.next_capsule() {
                let Capsule::Datagram(datagram) = capsule else {
                    continue;
                };
                // A sender that has gone is no fault of the tunnel's.
                drop(flow.send(&datagram).await);
            }
        }
        Ok(())
    };
    tokio::select! {
        failed = up => failed,
        ended = down => ended,
    }
}
