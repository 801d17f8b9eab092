//! How many frames a peer may send that move nothing.

use tokio::time::Instant;

use crate::mux::yamux::error::Violation;
use crate::mux::yamux::settings::{USELESS_BURST, USELESS_RATE};

/// A leaky bucket of pings, refused streams, streams reset at once, and empty data.
#[derive(Debug)]
pub(super) struct Useless {
    level: u32,
    at: Instant,
}

impl Useless {
    pub(super) fn new(now: Instant) -> Self {
        Self { level: 0, at: now }
    }

    /// Counts one frame.
    ///
    /// # Errors
    /// [`Violation::Flood`] when they are more than any peer has reason to send.
    pub(super) fn count(&mut self, what: &'static str, now: Instant) -> Result<(), Violation> {
        self.level += 1;
        if self.level <= USELESS_BURST {
            return Ok(());
        }
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        // Bounded by the level itself, which is an u32.
        let leaked = (since * f64::from(USELESS_RATE)).min(f64::from(self.level));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the level"
        )]
        let leaked = leaked as u32;
        self.level -= leaked;
        self.at = now;
        if self.level > USELESS_BURST {
            return Err(Violation::Flood(what));
        }
        Ok(())
    }
}
