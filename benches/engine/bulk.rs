//! Bulk: the far side sends on every stream for as long as it is read; what a GiB of it costs.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::carrier::{Tls, block_on, cpu};
use crate::{Rival, h2mux, ours, plain, yamux_crate};

/// One piece of what is sent: as much as a relay reads at once.
pub const PIECE: usize = 64 * 1024;

pub fn piece() -> Bytes {
    vec![0x5a; PIECE].into()
}

/// What arrived, by stream, and whether that is enough.
#[derive(Clone)]
pub struct Counter(Rc<RefCell<Counts>>);

struct Counts {
    streams: Vec<u64>,
    total: u64,
    enough: u64,
    begun: bool,
    done: CancellationToken,
}

impl Counter {
    pub fn new(streams: usize, enough: u64) -> Self {
        Self(Rc::new(RefCell::new(Counts {
            streams: vec![0; streams],
            total: 0,
            enough,
            begun: false,
            done: CancellationToken::new(),
        })))
    }

    pub fn add(&self, stream: usize, bytes: usize) {
        let mut counts = self.0.borrow_mut();
        counts.streams[stream] += bytes as u64;
        counts.total += bytes as u64;
        if counts.total >= counts.enough {
            counts.done.cancel();
        }
    }

    /// All streams are open: from now on it counts.
    pub fn begin(&self) {
        self.0.borrow_mut().begun = true;
    }

    fn has_begun(&self) -> bool {
        self.0.borrow().begun
    }

    pub fn total(&self) -> u64 {
        self.0.borrow().total
    }

    pub fn done(&self) -> CancellationToken {
        self.0.borrow().done.clone()
    }

    fn share(&self) -> f64 {
        let counts = self.0.borrow();
        let least = counts.streams.iter().min().copied().unwrap_or(0);
        let most = counts.streams.iter().max().copied().unwrap_or(0);
        least as f64 / most as f64
    }
}

/// CPU-seconds per GiB, MiB/s, and the least share of a stream in the largest one's.
pub fn round(tls: &Tls, rival: Rival, streams: usize, bytes: u64) -> Vec<f64> {
    // Streams and windows are under way before anything counts.
    let warm = Counter::new(streams, (bytes / 8).max(streams as u64 * 64 * 1024));
    let counter = Counter::new(streams, bytes);
    let (spent, took) = block_on(async {
        let both = (warm.clone(), counter.clone());
        match rival {
            Rival::Ours => ours::download(tls, streams, both).await,
            Rival::Tls => plain::download(tls, both).await,
            Rival::Yamux => yamux_crate::download(tls, streams, both).await,
            Rival::H2 => h2mux::download(tls, streams, both).await,
        }
    });
    let gib = counter.total() as f64 / f64::from(1 << 30);
    // All of it goes by one connection there.
    let share = if rival == Rival::Tls {
        f64::NAN
    } else {
        counter.share()
    };
    vec![spent / gib, gib * 1024.0 / took, share]
}

/// The two phases of a download: what is read counts for the first and then for the second. Gives
/// processor and wall time of the second.
pub async fn measure(phases: &(Counter, Counter)) -> (f64, f64) {
    phases.0.begin();
    phases.0.done().cancelled().await;
    let (spent, begun) = (cpu(), Instant::now());
    phases.1.done().cancelled().await;
    ((cpu() - spent).as_secs_f64(), begun.elapsed().as_secs_f64())
}

/// Counts a read in the phase that it belongs to.
pub fn count(phases: &(Counter, Counter), stream: usize, bytes: usize) {
    let (warm, counter) = phases;
    if warm.done().is_cancelled() {
        counter.add(stream, bytes);
    } else if warm.has_begun() {
        warm.add(stream, bytes);
    }
}
