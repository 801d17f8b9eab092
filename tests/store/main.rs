//! The gateway's store from outside: a process that is killed while it writes, and the commands that back it up,
//! restore and check it, with a gateway that runs and without.
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
    clippy::print_stdout,
    clippy::disallowed_types,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod commands;
mod crash;
mod writer;
