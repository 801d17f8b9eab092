//! The multiplexer against itself, the `yamux` crate, hashicorp/yamux (Go) and hostile peers.
//!
//! Random schedules print their seed; `PIPEOPS_MUX_SEED=n` repeats one, `PIPEOPS_MUX_MIB=n` runs
//! new ones until so much was moved (a plain run moves a little). `PIPEOPS_TEST_SKIP_GO=1` leaves
//! out what needs a Go toolchain.
#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    reason = "tests"
)]

mod ends;
mod pattern;
mod raw;
mod rig;
mod schedule;
mod sliced;

mod clock;
mod deadlock;
mod fairness;
mod go;
mod hostile;
mod integrity;
mod vectors;
