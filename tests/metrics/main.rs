//! What both programs count, read as Prometheus reads it: over HTTP, in both formats, by
//! `promtool` and by Prometheus itself (Debian's package `prometheus` has both).
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
    clippy::float_cmp,
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

mod scrape;

mod catalogue;
mod contract;
mod counts;
mod prometheus;
mod promtool;
