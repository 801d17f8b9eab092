//! A whole run: every case of every subject, in turns, round after round.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::timeout;

use crate::args::{Args, Scenario};
use crate::place::{Link, Place, Proxy, Shape};
use crate::progress::{Progress, say};
use crate::report::Report;
use crate::report::sample::{Outcome, Sample};
use crate::scenario::{Case, calm, cases};
use crate::subject::{Running, Subject};
use crate::system::process::Nursery;
use crate::world::World;

/// What a case may take beside the seconds that it measures: thousands of connections, twice.
const BESIDE: Duration = Duration::from_secs(300);

/// Measures what the arguments ask for.
///
/// # Errors
/// When our own programs do not start. What happens to a peer, or in one case, is in the report.
pub(crate) async fn run(args: &Args) -> Result<Report> {
    let mut report = Report::new(args);
    let subjects = Subject::all(args)?;
    if args.scenario != Scenario::Wan {
        let world = World::new(args.clone(), Nursery::new()?, Place::Here)?;
        measure(&world, &subjects, "", &mut report).await?;
        return Ok(report);
    }
    for percent in &args.loss {
        let nursery = Nursery::new()?;
        let shape = Shape {
            rtt: args.rtt / 1e3,
            rate: args.rate * 1e6,
            loss: percent / 100.0,
        };
        let (place, label) = far_away(args, &nursery, shape);
        let world = World::new(args.clone(), nursery, place)?;
        measure(&world, &subjects, &label, &mut report).await?;
        if matches!(world.place, Place::Proxy(_)) {
            break; // the other shares of lost packets would be the same
        }
    }
    Ok(report)
}

/// A link of packets, or where that is refused a proxy; and what tables call it.
fn far_away(args: &Args, nursery: &Nursery, shape: Shape) -> (Place, String) {
    let like = format!("{} ms, {} MB/s", args.rtt, args.rate);
    if !args.proxy {
        match Link::new(nursery, shape) {
            Ok(link) => {
                return (
                    Place::Link(link),
                    format!(", {like}, {} % lost", shape.loss * 100.0),
                );
            }
            Err(error) => say(&format!(
                "no link of packets ({error:#}); a proxy delays bytes instead, and loses none"
            )),
        }
    }
    (Place::Proxy(Proxy(shape)), format!(", {like}, by a proxy"))
}

/// Each sample has a subject that was started for it: what one case leaves in memory is not in the
/// next one's figures.
async fn measure(
    world: &World,
    subjects: &[Subject],
    label: &str,
    report: &mut Report,
) -> Result<()> {
    let rounds = world.args.rounds();
    for round in 1..=rounds {
        let turn = usize::try_from(round - 1).unwrap_or_default() % subjects.len().max(1);
        let (later, first) = subjects.split_at(turn);
        for case in cases(&world.args) {
            for subject in first.iter().chain(later) {
                let what = format!(
                    "round {round}/{rounds}  {}{label}  {}",
                    case.name,
                    subject.name()
                );
                let running = match subject.start(world).await {
                    Ok(running) => running,
                    Err(error) if subject.is_ours() => return Err(error),
                    Err(error) => {
                        say(&format!("{what}  left out: {error:#}"));
                        continue;
                    }
                };
                let mut sample = one(world, &case, &running, what).await?;
                sample.round = round;
                sample.case.push_str(label);
                report.add(sample);
            }
        }
    }
    Ok(())
}

async fn one(world: &World, case: &Case, subject: &Running, what: String) -> Result<Sample> {
    calm(world).await?;
    let progress = Progress::new(what, subject);
    let mut outcome = Outcome::default();
    let limit = BESIDE + Duration::from_secs_f64(world.args.seconds * 4.0);
    let run = timeout(limit, case.run(world, subject, &mut outcome)).await;
    let failed = run
        .context("takes too long")
        .flatten()
        .err()
        .map(|error| format!("{error:#}"));
    progress.done(
        &failed
            .as_ref()
            .map_or_else(|| outcome.summary(), |error| format!("failed: {error}")),
    );
    Ok(Sample {
        subject: subject.name.clone(),
        case: case.name.clone(),
        round: 0,
        failed,
        outcome,
    })
}
