//! The platform's API on a real gateway, without Kubernetes: who may, what is listed, what is written down. What needs
//! a cluster is in `tests/kubernetes`.
#![allow(
    missing_docs,
    dead_code,
    unreachable_pub,
    reason = "tests, and helpers that other test binaries share"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_types,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod access;
mod agents;
mod clusters;
mod described;
mod messages;
mod plain;
mod ui;
