//! TCP and UDP through the tunnel: the two programs as processes, real PostgreSQL and a real DNS
//! server behind them, and clients that people have.
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
#[path = "../metrics/scrape.rs"]
mod scrape;
#[path = "../tunnel/wire.rs"]
mod wire;

mod command;
mod setup;

mod connect;
mod dns;
mod ends;
mod local;
mod ports;
mod postgres;
mod refusals;
mod stalls;
mod udp;
mod upgrade;
