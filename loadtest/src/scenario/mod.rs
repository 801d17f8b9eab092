//! What is measured of a subject: scenarios, each a row of cases.

mod agents;
mod meter;
mod soak;
mod steady;
mod streams;
mod wan;

pub(crate) use meter::calm;

use std::time::Duration;

use anyhow::Result;

use crate::args::{Args, Scenario};
use crate::load::flows::Way;
use crate::report::sample::Outcome;
use crate::subject::Running;
use crate::world::World;

/// One thing to measure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Case {
    /// In tables.
    pub(crate) name: String,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    Bulk(usize, Way),
    Requests { connections: usize, anew: bool },
    Probe { beside: usize },
    Active(usize),
    Idle(usize),
    Agents(usize),
    Stall(usize),
    Soak,
    Wan(Way),
}

/// The cases of a scenario.
pub(crate) fn cases(args: &Args) -> Vec<Case> {
    let counts = |own: &[u32]| -> Vec<usize> {
        let counts = if args.counts.is_empty() {
            own
        } else {
            &args.counts
        };
        counts
            .iter()
            .filter_map(|&count| usize::try_from(count).ok())
            .collect()
    };
    let each = |own: &[u32], name: &str, what: &dyn Fn(usize) -> What| -> Vec<Case> {
        let case = |count| Case {
            name: format!("{count} {name}"),
            what: what(count),
        };
        counts(own).into_iter().map(case).collect()
    };
    let one = |name: &str, what| {
        let name = name.to_owned();
        vec![Case { name, what }]
    };
    match args.scenario {
        Scenario::Bulk => [
            each(&[1, 8], "down", &|count| What::Bulk(count, Way::Down)),
            each(&[1, 8], "up", &|count| What::Bulk(count, Way::Up)),
        ]
        .concat(),
        Scenario::Small => each(&[1, 64], "connections", &|connections| What::Requests {
            connections,
            anew: false,
        }),
        Scenario::Open => each(&[16], "at once", &|connections| What::Requests {
            connections,
            anew: true,
        }),
        Scenario::Mixed => [
            one("alone", What::Probe { beside: 0 }),
            each(&[1, 4], "downloads", &|beside| What::Probe { beside }),
        ]
        .concat(),
        Scenario::Streams => [
            each(&[10, 100, 1_000, 10_000], "active", &What::Active),
            each(&[1_000, 10_000, 100_000], "idle", &What::Idle),
        ]
        .concat(),
        Scenario::Agents => each(&[1, 100, 1_000, 5_000], "agents", &What::Agents),
        Scenario::Stall => each(&[1, 16], "stalled", &What::Stall),
        Scenario::Soak => one("mixed", What::Soak),
        Scenario::Wan => [
            one("1 down", What::Wan(Way::Down)),
            one("1 up", What::Wan(Way::Up)),
        ]
        .concat(),
        Scenario::Origin | Scenario::Reap => Vec::new(),
    }
}

impl Case {
    /// Measures it once.
    ///
    /// # Errors
    /// When there is nothing to measure: no connection, no answer.
    pub(crate) async fn run(
        &self,
        world: &World,
        subject: &Running,
        out: &mut Outcome,
    ) -> Result<()> {
        let period = Duration::from_secs_f64(world.args.seconds);
        match self.what {
            What::Bulk(count, way) => steady::bulk(world, subject, (count, way), out).await,
            What::Requests { connections, anew } => {
                steady::requests(world, subject, (connections, anew), out).await
            }
            What::Probe { beside } => steady::probe(world, subject, beside, out).await,
            What::Stall(readers) => steady::stall(world, subject, readers, out).await,
            What::Active(count) => streams::active(world, subject, count, out).await,
            What::Idle(count) => streams::idle(world, subject, count, out).await,
            What::Agents(count) => agents::run(world, subject, count, out).await,
            What::Soak => soak::run(world, subject, period, out).await,
            What::Wan(way) => wan::run(world, subject, way, out).await,
        }
    }
}
