//! How an agent's carriers come to the gateway: by which kind, through which proxy, and how many.
//! The proxies are real ones (Debian's `tinyproxy`, `squid` and `nginx-light`), and so are both programs.
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
#[path = "../metrics/scrape.rs"]
mod scrape;
#[path = "../tunnel/wire.rs"]
mod wire;

mod pipe;
mod programs;

mod count;
mod handover;
mod kinds;
mod proxies;
