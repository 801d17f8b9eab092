//! What a stretch of time has cost each side.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use crate::report::sample::Outcome;
use crate::subject::Running;
use crate::system::usage::Table;
use crate::world::World;

/// A stretch that has begun.
pub(super) struct Meter {
    before: Table,
}

/// CPU-seconds in a stretch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    pub(super) seconds: f64,
    server: f64,
    agent: f64,
    origin: f64,
    load: f64,
}

impl Meter {
    /// Begins.
    ///
    /// # Errors
    /// When `/proc` can not be read.
    pub(super) fn start() -> Result<Self> {
        Ok(Self {
            before: Table::read()?,
        })
    }

    /// Ends, and notes the share of others, and how busy the load's own thread was.
    ///
    /// # Errors
    /// When `/proc` can not be read.
    pub(super) fn stop(self, world: &World, subject: &Running, out: &mut Outcome) -> Result<Spent> {
        let now = Table::read()?;
        let spent = |pids: &[u32]| -> f64 {
            pids.iter()
                .map(|pid| now.cpu(*pid) - self.before.cpu(*pid))
                .sum()
        };
        let me = std::process::id();
        let origin: Vec<u32> = world
            .origin_process
            .iter()
            .map(|process| process.pid())
            .collect();
        let spent = Spent {
            seconds: now.since(&self.before),
            server: spent(&subject.server),
            agent: spent(&subject.agent),
            origin: spent(&origin),
            load: now.own_cpu(me) - self.before.own_cpu(me),
        };
        out.foreign = out.foreign.max(now.foreign(&self.before));
        Ok(spent)
    }
}

impl Spent {
    /// CPU-seconds of the public side.
    pub(super) fn server(&self) -> f64 {
        self.server
    }

    /// How busy the load's own process was, in percent of a core.
    pub(super) fn load_busy(&self) -> f64 {
        100.0 * self.load / self.seconds
    }

    /// What each unit has cost, in CPU-`scale`s: per GiB, per request.
    pub(super) fn per(&self, units: f64, scale: f64, name: &str, out: &mut Outcome) {
        let measured = self.server + self.agent > 0.0;
        let sides = [
            ("both", self.server + self.agent, measured),
            ("server", self.server, measured),
            ("agent", self.agent, measured),
            ("origin", self.origin, true),
            ("load", self.load, true),
        ];
        for (side, cpu, known) in sides {
            if known && units > 0.0 {
                out.set(&format!("{side} {name}"), cpu * scale / units);
            }
        }
        out.set("load busy %", self.load_busy());
    }
}

/// Waits, up to `--wait`, until others use less of the machine than would make a sample void.
///
/// # Errors
/// When `/proc` can not be read.
pub(crate) async fn calm(world: &World) -> Result<()> {
    let end = Instant::now() + Duration::from_secs_f64(world.args.wait);
    loop {
        let before = Table::read()?;
        sleep(Duration::from_millis(200)).await;
        if Table::read()?.foreign(&before) <= world.args.max_foreign || Instant::now() >= end {
            return Ok(());
        }
    }
}
