//! Who may begin a QUIC connection: one with a ticket, and not too many at once.

use std::sync::Arc;

use quinn::{Endpoint, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::arrival::Arrival;
use crate::gateway::metrics::QuicResult;
use crate::gateway::shared::{Mail, Shared};
use crate::wire::limits::{MAX_QUIC_HANDSHAKES, QUIC_RETRY_ABOVE};

/// Sends those who may come in to their workers.
pub(super) struct Door {
    shared: Arc<Shared>,
    handshakes: Arc<Semaphore>,
}

/// What is to become of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Enter {
        worker: usize,
    },
    /// Show first that you are where your packets say.
    Retry,
    Refuse(QuicResult),
}

fn judge(worker: Option<usize>, validated: bool, under_way: usize) -> Verdict {
    match worker {
        None => Verdict::Refuse(QuicResult::NoTicket),
        Some(_) if under_way >= MAX_QUIC_HANDSHAKES => Verdict::Refuse(QuicResult::Busy),
        Some(_) if under_way >= QUIC_RETRY_ABOVE && !validated => Verdict::Retry,
        Some(worker) => Verdict::Enter { worker },
    }
}

impl Door {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            handshakes: Arc::new(Semaphore::new(MAX_QUIC_HANDSHAKES)),
        }
    }

    /// Lets connections in until no more can come.
    pub(super) async fn tend(&self, endpoint: &Endpoint) {
        while let Some(incoming) = endpoint.accept().await {
            self.admit(incoming);
        }
    }

    fn admit(&self, incoming: Incoming) {
        let worker = self.shared.tickets.worker_of(&incoming.orig_dst_cid());
        let under_way = MAX_QUIC_HANDSHAKES - self.handshakes.available_permits();
        let verdict = if self.shared.drain.is_cancelled() {
            Verdict::Refuse(QuicResult::Busy)
        } else {
            judge(worker, incoming.remote_address_validated(), under_way)
        };
        let counted = match verdict {
            Verdict::Enter { worker } => {
                let Ok(permit) = Arc::clone(&self.handshakes).try_acquire_owned() else {
                    return;
                };
                return self.hand_over(worker, incoming, permit);
            }
            Verdict::Retry => {
                // It was not validated, and so can be.
                incoming.retry().ok();
                QuicResult::Retried
            }
            Verdict::Refuse(result) => {
                incoming.refuse();
                result
            }
        };
        self.count(counted);
    }

    fn hand_over(&self, worker: usize, incoming: Incoming, permit: OwnedSemaphorePermit) {
        let Some(mailbox) = self.shared.mailboxes.get(worker) else {
            return;
        };
        let arrival = Box::new(Arrival::new(incoming, permit));
        // A worker that is so far behind takes no more; dropped, the connection is refused.
        if mailbox.try_send(Mail::Quic(arrival)).is_err() {
            self.count(QuicResult::Busy);
        }
    }

    fn count(&self, result: QuicResult) {
        self.shared.metrics.quic_handshakes.get(result).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_must_show_where_it_is_and_then_that_it_is_not_too_many() {
        let enter = Verdict::Enter { worker: 1 };
        let busy = Verdict::Refuse(QuicResult::Busy);
        let table = [
            (None, true, 0, Verdict::Refuse(QuicResult::NoTicket)),
            (Some(1), false, 0, enter),
            (Some(1), false, QUIC_RETRY_ABOVE - 1, enter),
            (Some(1), false, QUIC_RETRY_ABOVE, Verdict::Retry),
            (Some(1), true, QUIC_RETRY_ABOVE, enter),
            (Some(1), true, MAX_QUIC_HANDSHAKES - 1, enter),
            (Some(1), true, MAX_QUIC_HANDSHAKES, busy),
            (Some(1), false, MAX_QUIC_HANDSHAKES, busy),
        ];
        for (worker, validated, under_way, verdict) in table {
            assert_eq!(judge(worker, validated, under_way), verdict);
        }
    }
}
