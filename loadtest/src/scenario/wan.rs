//! One flow over a long link.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::meter::Meter;
use super::steady::{BEGIN, period};
use crate::load::flows::{Flows, Way};
use crate::report::sample::{Outcome, count};
use crate::subject::Running;
use crate::world::World;

/// Windows and congestion control need some round trips: forty of 100 ms.
const WARM_UP: f64 = 40.0;

/// How long a flow runs over a path that loses packets before another one is measured.
const FIND_OUT: Duration = Duration::from_secs(12);

/// How much of the link one flow fills.
pub(super) async fn run(
    world: &World,
    subject: &Running,
    way: Way,
    out: &mut Outcome,
) -> Result<()> {
    let Some(shape) = world.place.shape() else {
        anyhow::bail!("there is no link");
    };
    if shape.loss > 0.0 {
        // What a subject finds out of the path, it finds out by moving bytes.
        let first = Flows::start(&subject.endpoint, way, 1, BEGIN).await;
        sleep(FIND_OUT).await;
        drop(first);
    }
    let flows = Flows::start(&subject.endpoint, way, 1, BEGIN).await;
    flows.check(1)?;
    sleep(Duration::from_secs_f64(WARM_UP * shape.rtt)).await;
    let before: u64 = flows.bytes().iter().sum();
    let meter = Meter::start()?;
    sleep(period(world)).await;
    let moved = flows.bytes().iter().sum::<u64>() - before;
    let spent = meter.stop(world, subject, out)?;
    flows.check(1)?;
    let rate = count(moved) / spent.seconds;
    out.set("MB/s", rate / 1e6);
    out.set("% of the link", 100.0 * rate / shape.rate);
    Ok(())
}
