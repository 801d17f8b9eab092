//! Random schedules: every byte arrives, in order, once, whatever the carrier and the other streams do.

use std::env;

use crate::ends::Speaker::{self, Crate, Ours};
use crate::rig::local;
use crate::schedule;

/// Schedules of a plain run for each pair of speakers.
const SEEDS: u64 = 12;

fn variable(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap())
}

fn between(client: Speaker, server: Speaker) {
    if let Some(seed) = variable("PIPEOPS_MUX_SEED") {
        local(schedule::run(seed, client, server));
        return;
    }
    if let Some(mib) = variable("PIPEOPS_MUX_MIB") {
        let mut moved = 0;
        while moved >> 20 < mib {
            moved += local(schedule::run(fastrand::u64(..), client, server));
        }
        return;
    }
    // The same ones each time, and one that is new.
    for seed in (0..SEEDS).chain([fastrand::u64(..)]) {
        local(schedule::run(seed, client, server));
    }
}

#[test]
fn ours_and_ours() {
    between(Ours, Ours);
}

#[test]
fn our_client_and_the_crates_server() {
    between(Ours, Crate);
}

#[test]
fn the_crates_client_and_our_server() {
    between(Crate, Ours);
}
