//! Both programs' own face, as processes over real sockets: probes, info, configuration, metrics,
//! limits, and what a flood does to them.
#![allow(
    missing_docs,
    dead_code,
    unreachable_pub,
    reason = "tests, and helpers that other test binaries share"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::string_slice,
    clippy::large_futures,
    clippy::disallowed_types,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../tunnel/fixture.rs"]
mod fixture;
#[path = "../tunnel/origin.rs"]
mod origin;
#[path = "../tunnel/wire.rs"]
mod wire;

mod client;

mod access;
mod bodies;
mod busy;
mod drains;
mod flood;
mod life;
mod refused;
