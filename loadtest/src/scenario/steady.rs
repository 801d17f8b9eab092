//! The scenarios that measure a steady state: bulk, small, open, mixed, stall.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::sleep;

use super::meter::Meter;
use crate::load::flows::{Flows, Way};
use crate::load::probe::{Probe, Probed};
use crate::load::requests;
use crate::report::sample::{Outcome, count};
use crate::subject::Running;
use crate::world::World;

/// Flows may take this long to begin.
pub(super) const BEGIN: Duration = Duration::from_secs(15);

/// Buffers fill and windows grow before anything is measured.
const WARM_UP: Duration = Duration::from_millis(500);

/// Bytes in a GiB and in a MiB.
pub(super) const GIB: f64 = 1_073_741_824.0;
pub(super) const MIB: f64 = 1_048_576.0;

pub(super) fn period(world: &World) -> Duration {
    Duration::from_secs_f64(world.args.seconds)
}

pub(super) async fn bulk(
    world: &World,
    subject: &Running,
    (wanted, way): (usize, Way),
    out: &mut Outcome,
) -> Result<()> {
    let flows = Flows::start(&subject.endpoint, way, wanted, BEGIN).await;
    flows.check(wanted)?;
    sleep(WARM_UP).await;
    let before: u64 = flows.bytes().iter().sum();
    let meter = Meter::start()?;
    sleep(period(world)).await;
    let moved = flows.bytes().iter().sum::<u64>() - before;
    let spent = meter.stop(world, subject, out)?;
    flows.check(wanted)?;
    out.set("MiB/s", count(moved) / MIB / spent.seconds);
    spent.per(count(moved) / GIB, 1.0, "s/GiB", out);
    note_rss(subject, out)
}

pub(super) async fn requests(
    world: &World,
    subject: &Running,
    (connections, anew): (usize, bool),
    out: &mut Outcome,
) -> Result<()> {
    requests::run(&subject.endpoint, connections, anew, WARM_UP).await?;
    let meter = Meter::start()?;
    let answers = requests::run(&subject.endpoint, connections, anew, period(world)).await?;
    let spent = meter.stop(world, subject, out)?;
    let done = count(answers.latency.count());
    out.set("req/s", done / spent.seconds);
    out.latency(&answers.latency, "");
    spent.per(done, 1e6, "µs/req", out);
    out.set("bad", count(answers.bad));
    out.note(answers.failure);
    note_rss(subject, out)
}

pub(super) async fn probe(
    world: &World,
    subject: &Running,
    beside: usize,
    out: &mut Outcome,
) -> Result<()> {
    let flows = Flows::start(&subject.endpoint, Way::Down, beside, BEGIN).await;
    flows.check(beside)?;
    sleep(WARM_UP).await;
    let before: u64 = flows.bytes().iter().sum();
    let meter = Meter::start()?;
    let probed = Probe::start(&subject.endpoint, period(world)).end().await?;
    let moved = flows.bytes().iter().sum::<u64>() - before;
    let spent = meter.stop(world, subject, out)?;
    note_probe(&probed, "", out)?;
    out.set("beside MiB/s", count(moved) / MIB / spent.seconds);
    out.set("load busy %", spent.load_busy());
    Ok(())
}

pub(super) async fn stall(
    world: &World,
    subject: &Running,
    readers: usize,
    out: &mut Outcome,
) -> Result<()> {
    let meter = Meter::start()?;
    let alone = Probe::start(&subject.endpoint, period(world)).end().await?;
    let (server, agent) = subject.rss()?;
    let flows = Flows::start(&subject.endpoint, Way::Stall, readers, BEGIN).await;
    sleep(WARM_UP).await;
    let probed = Probe::start(&subject.endpoint, period(world)).end().await?;
    let (server_now, agent_now) = subject.rss()?;
    meter.stop(world, subject, out)?;
    out.set("stalled", count(flows.live() as u64));
    note_probe(&alone, "alone ", out)?;
    note_probe(&probed, "", out)?;
    out.set("server +MiB", server_now - server);
    out.set("agent +MiB", agent_now - agent);
    out.note(flows.failure());
    Ok(())
}

fn note_probe(probed: &Probed, prefix: &str, out: &mut Outcome) -> Result<()> {
    let answered = probed.latency.count();
    ensure!(
        answered > 0,
        "none of the probe's {} requests was answered",
        probed.bad
    );
    out.latency(&probed.latency, prefix);
    out.set(&format!("{prefix}bad"), count(probed.bad));
    Ok(())
}

/// What both sides hold now.
pub(super) fn note_rss(subject: &Running, out: &mut Outcome) -> Result<()> {
    let (server, agent) = subject.rss()?;
    if server + agent > 0.0 {
        out.set("server MiB", server);
        out.set("agent MiB", agent);
    }
    Ok(())
}
