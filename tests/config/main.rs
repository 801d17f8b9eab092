//! The configuration of both programs, from outside: what is refused and how that is told, where values come from, what
//! the types make (schema, reference page), that no secret gets out, the commands, and reloading in running programs.
//!
//! After a change that is meant: `INSTA_UPDATE=always PIPEOPS_BLESS=1 cargo test --test config`, and read the diff.
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

mod bad_agent;
mod bad_gateway;
mod commands;
mod generated;
mod layers;
mod oracle;
mod page;
mod program;
mod reload;
mod secrets;
mod table;
