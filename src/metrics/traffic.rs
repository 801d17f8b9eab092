//! What goes to and comes from one cluster, for whoever looks at it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Figures of one cluster since the gateway started. They are no series: there are as many as clusters.
#[derive(Debug, Default)]
pub struct Traffic {
    pub(super) sent: Arc<AtomicU64>,
    pub(super) received: Arc<AtomicU64>,
    requests: AtomicU64,
    streams: AtomicU64,
}

impl Traffic {
    /// Bytes of bodies that went to it.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes of bodies that came from it.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Requests that were begun.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Those of them that have not ended.
    #[must_use]
    pub fn streams(&self) -> u64 {
        self.streams.load(Ordering::Relaxed)
    }

    pub(super) fn begun(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.streams.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
