//! What the end-to-end tests share: programs as processes that are always
//! ended, a raw HTTP client, kubectl, and the cluster of `tests/kube`.
//! Test binaries include it with `#[path = "../common/mod.rs"] mod common;`.

pub mod agent;
pub mod api;
pub mod cluster;
pub mod connect_proxy;
pub mod face;
pub mod gateway;
pub mod http;
pub mod kubeconfig;
pub mod kubectl;
pub mod link;
pub mod process;
pub mod reaper;
pub mod sum;

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// Long enough for a busy machine with two cores; a test that waits this long fails.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A new folder that is removed when this test process ends, however it ends.
pub fn temp_dir(name: &str) -> PathBuf {
    tempfile::Builder::new()
        .prefix(&format!("{name}-"))
        .tempdir_in(reaper::temp_root())
        .unwrap()
        .keep()
}

/// A TCP port of loopback that was free a moment ago. Below the ephemeral ones,
/// so that no outgoing connection takes it meanwhile, and never the same twice.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let from = std::process::id().wrapping_mul(97);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + u16::try_from(from.wrapping_add(step) % 10_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Calls `probe` until it answers `Ok`, or panics with its last error.
pub fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut probe: impl FnMut() -> Result<T, String>,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        match probe() {
            Ok(value) => return value,
            Err(last) if Instant::now() >= end => {
                panic!("gave up after {deadline:?} waiting for {what}: {last}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}
