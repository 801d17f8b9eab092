//! What the machine gives: processes that always end, and what they cost.

pub(crate) mod process;
pub(crate) mod reaper;
pub(crate) mod usage;

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// A TCP port of loopback that was free a moment ago, below those that outgoing connections get,
/// and never the same twice.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let from = std::process::id().wrapping_mul(97);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(from.wrapping_add(step) % 20_000).unwrap_or_default() + 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
