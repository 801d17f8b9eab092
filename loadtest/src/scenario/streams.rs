//! Many streams through one tunnel: all of them moving bytes, or all of them standing still.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::sleep;

use super::meter::Meter;
use super::steady::{GIB, MIB, note_rss, period};
use crate::load::flows::{Flows, Way};
use crate::report::sample::{Outcome, count};
use crate::subject::Running;
use crate::world::World;

/// Thousands of connections take their time to begin.
const BEGIN: Duration = Duration::from_secs(60);

/// Memory is looked at once it no longer moves.
const SETTLE: Duration = Duration::from_secs(1);

/// Downloads at full speed: what a GiB costs, and whether each gets its share.
pub(super) async fn active(
    world: &World,
    subject: &Running,
    wanted: usize,
    out: &mut Outcome,
) -> Result<()> {
    let flows = Flows::start(&subject.endpoint, Way::Down, wanted, BEGIN).await;
    let live = flows.live();
    out.set("running", count(live as u64));
    out.note(flows.failure());
    ensure!(
        live > 0,
        "no stream runs: {}",
        flows.failure().unwrap_or_default()
    );
    sleep(SETTLE).await;
    let before = flows.bytes();
    let meter = Meter::start()?;
    sleep(period(world)).await;
    let after = flows.bytes();
    let spent = meter.stop(world, subject, out)?;
    let mut moved: Vec<u64> = after
        .iter()
        .zip(&before)
        .map(|(after, before)| after - before)
        .collect();
    moved.sort_unstable();
    // Those that were refused are not starved, and come first.
    let moved = moved.split_off(wanted.min(moved.len()) - live);
    let all = count(moved.iter().sum());
    out.set("MiB/s", all / MIB / spent.seconds);
    spent.per(all / GIB, 1.0, "s/GiB", out);
    let (least, most) = (
        moved.first().copied().unwrap_or_default(),
        moved.last().copied().unwrap_or_default(),
    );
    out.set("min/max share", count(least) / count(most).max(1.0));
    out.set(
        "starved",
        count(moved.iter().filter(|bytes| **bytes == 0).count() as u64),
    );
    note_rss(subject, out)
}

/// Responses of which one byte has come and no more will: what each holds.
pub(super) async fn idle(
    world: &World,
    subject: &Running,
    wanted: usize,
    out: &mut Outcome,
) -> Result<()> {
    let (server, agent) = subject.rss()?;
    let meter = Meter::start()?;
    let flows = Flows::start(&subject.endpoint, Way::Hold, wanted, BEGIN).await;
    let live = count(flows.live() as u64);
    out.set("held", live);
    out.note(flows.failure());
    ensure!(
        live > 0.0,
        "no stream is held: {}",
        flows.failure().unwrap_or_default()
    );
    sleep(SETTLE).await;
    let (server_now, agent_now) = subject.rss()?;
    meter.stop(world, subject, out)?;
    let kib = |grown: f64| grown * 1024.0 / live;
    out.set(
        "both KiB each",
        kib(server_now - server + agent_now - agent),
    );
    out.set("server KiB each", kib(server_now - server));
    out.set("agent KiB each", kib(agent_now - agent));
    note_rss(subject, out)
}
