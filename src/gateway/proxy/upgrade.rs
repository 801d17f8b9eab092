//! The client's end of an upgraded connection.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

use crate::gateway::body::revoked;
use crate::gateway::record::Record;
use crate::http::exchange::{Receiver, Sender};
use crate::metrics::Outcome;
use crate::relay::relay as pump;

/// Moves raw bytes both ways until both sides are done, or the token ends.
pub(super) async fn relay(
    upgrade: OnUpgrade,
    mut sender: Sender,
    mut receiver: Receiver,
    ended: CancellationToken,
    mut record: Record,
) {
    let Ok(upgraded) = upgrade.await else { return };
    let (sent, received) = (record.counted.sent.clone(), record.counted.received.clone());
    let io = TokioIo::new(upgraded);
    tokio::select! {
        biased;
        () = ended.cancelled() => {
            record.outcome(Outcome::Revoked);
            record.reason = Some(revoked().to_string());
        }
        relayed = pump(io, &mut sender, &mut receiver, &sent, &received) => record.relayed(relayed),
    }
}
