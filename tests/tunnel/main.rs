//! The two programs as processes, real sockets, and nothing of Kubernetes:
//! clients and targets that are part of the test say and see every byte.
//!
//! Each test has a cluster, an agent and a target of its own; those that do not
//! hurt it share one gateway.
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

mod fixture;
mod h2client;
mod liar;
mod origin;
mod wire;

mod ambiguous;
mod bodies;
mod certificates;
mod connecting;
mod connections;
mod continues;
mod cuts;
mod doctor;
mod drains;
mod fake_gateway;
mod faults;
mod flood;
mod grpc;
mod headers;
mod hostile;
mod hosts;
mod http2;
mod isolation;
mod log;
mod paths;
mod plain_front;
mod quic;
mod reconnects;
mod responses;
mod revocation;
mod streaming;
mod targets;
mod tokens;
mod upgrade;
mod websocket;
