//! kubectl through the tunnel to a real Kubernetes, by both address forms.
//!
//! One binary, because one cluster with a real node fits on a machine; see
//! `tests/kube/README.md`. `PIPEOPS_TEST_SKIP_KUBERNETES=1` leaves it all out.
//! `PIPEOPS_TEST_KUBERNETES_DIRECT=1` runs it without the tunnel, as a control:
//! what fails then too is not the tunnel's fault.
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
#[macro_use]
mod env;

mod copy;
mod doctor;
mod errors;
mod exec;
mod forward;
mod identity;
mod logs;
mod platform;
mod read;
mod scale;
mod write;
