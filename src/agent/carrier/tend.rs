//! What a carrier that is up is looked after for: a better kind, and more of them under load.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc::error::SendError;
use tokio::time::{Instant, interval, sleep_until};

use super::Place;
use super::loss::PathWatch;
use crate::agent::run::Shared;
use crate::relay::Pressure;
use crate::wire::control::{Message, WantCarrier};
use crate::wire::limits::CARRIER_CLIMB;

/// How often a carrier's load is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// After asking for one more carrier the next time is so much later: it has to show what it helps.
const PAUSE: Duration = Duration::from_secs(30);

/// Below it the network is not what limits a connection, and another one would not help.
pub(in crate::agent) const FAR: Duration = Duration::from_millis(5);

/// Asks the gateway for carriers when this one gives reason to, as long as the carrier lives.
pub(super) async fn tend(
    shared: &Rc<Shared>,
    place: &Place,
    pressure: &Pressure,
    path: PathWatch,
) -> Infallible {
    // The control channel by which it came has gone, and this carrier goes with what runs on it.
    let Err(_gone) = ask(shared, place, pressure, path).await;
    std::future::pending().await
}

async fn ask(
    shared: &Rc<Shared>,
    place: &Place,
    pressure: &Pressure,
    mut path: PathWatch,
) -> Result<Infallible, SendError<Message>> {
    let Some(carrier) = place.number else {
        return std::future::pending().await;
    };
    let want = |instead| Message::WantCarrier(WantCarrier { carrier, instead });
    let ways = &shared.carriers.ways;
    let climbs = || !ways.better_than(place.kind, &place.taken).is_empty();
    let mut climb = Instant::now() + climb_wait();
    let mut looks = interval(LOOK);
    let (mut was_loaded, mut quiet_until) = (false, Instant::now());
    loop {
        tokio::select! {
            () = sleep_until(climb), if climbs() => {
                climb = Instant::now() + climb_wait();
                if !shared.carriers.has_climbed() {
                    place.channel.send(want(true)).await?;
                    shared.carriers.climbed.set(Some(Instant::now()));
                }
            }
            () = ways.improved() => if climbs() {
                climb = Instant::now() + climb_wait();
                place.channel.send(want(true)).await?;
            },
            () = shared.looks.notified(), if !climbs() && ways.loss_matters(place.kind, &place.taken) => {
                if path.is_lossy() {
                    ways.loses_packets();
                    tracing::info!(kind = %place.kind, carrier, "the path loses packets: quic is tried");
                    place.channel.send(want(true)).await?;
                }
            }
            _ = looks.tick() => {
                let full = pressure.take();
                let loaded = full > LOOK / 2 && shared.carriers.round_trip.get() >= FAR;
                if loaded && was_loaded && Instant::now() >= quiet_until {
                    quiet_until = Instant::now() + PAUSE;
                    place.channel.send(want(false)).await?;
                }
                was_loaded = loaded;
            }
        }
    }
}

/// [`CARRIER_CLIMB`] and up to a tenth more, so that a fleet does not climb in step.
fn climb_wait() -> Duration {
    let mut random = [0];
    // Without randomness there is no jitter, which does no harm.
    let jitter = getrandom::fill(&mut random).map_or(0.0, |()| f64::from(random[0]) / 2550.0);
    CARRIER_CLIMB + CARRIER_CLIMB.mul_f64(jitter)
}
