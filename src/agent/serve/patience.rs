//! How long an answer may take.

use std::time::Duration;

use tokio::time::Instant;

use crate::wire::limits::UPLOAD_IDLE;

/// How long to wait for a response's head. The target's own time begins when it has the whole
/// request: an upload may take as long as it moves.
pub(super) struct Patience {
    response: Duration,
    since: Instant,
    seen: (u64, bool),
}

impl Patience {
    pub(super) fn new(response: Duration) -> Self {
        Self {
            response,
            since: Instant::now(),
            seen: (0, false),
        }
    }

    pub(super) fn is_over(&mut self, received: u64, uploading: bool) -> bool {
        let now = (received, uploading);
        if now != self.seen {
            self.seen = now;
            self.since = Instant::now();
        }
        let limit = if uploading {
            self.response.max(UPLOAD_IDLE)
        } else {
            self.response
        };
        self.since.elapsed() >= limit
    }
}
