//! Data carriers: dialled when the gateway asks, by the best kind that works, and served until they
//! end.
//!
//! `docs/carriers.md` says what is chosen when. Called by the control channel and the doctor.

mod choice;
mod loss;
mod quic;
mod tend;
mod tls;
mod upgrade;
mod websocket;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use super::config::CarriersConfig;
use super::dial::{DialError, Dialer};
use super::metrics::{Climb, Endpoint};
use super::run::Shared;
use super::serve;
use crate::metrics::{CarrierEnd, SessionMeters};
use crate::mux::{AnyDriver, Budget, Role, Session, Settings, Stream, any_driver};
use crate::relay::{Gauged, Pressure, WebSocket};
use crate::wire::carrier::CarrierKind;
use crate::wire::control::{CarrierFailed, Message, OpenCarrier};
use crate::wire::limits::{CARRIER_CLIMB, MAX_AGENT_CARRIERS};
use choice::{Ways, Won};
use loss::{Ends, PathWatch};
use upgrade::Switched;

/// A carrier that fails so soon, with nothing carried, was none: something on the way lets its
/// handshake pass and not its bytes.
const PROOF: Duration = Duration::from_secs(20);

/// A gateway that ends takes its control channel with it within this.
const SAME_END: Duration = Duration::from_secs(1);

/// All carriers of an agent.
pub(super) struct Carriers {
    ways: Ways,
    up: RefCell<Vec<Up>>,
    /// Being dialled.
    dialled: Cell<usize>,
    /// When a better kind was last asked for: one carrier tries it for all.
    climbed: Cell<Option<Instant>>,
    /// What the control channel's last ping took.
    pub(super) round_trip: Cell<Duration>,
}

/// A carrier that is up.
struct Up {
    session: Session,
    place: Rc<Place>,
}

/// Which carrier it is, and for whom.
struct Place {
    /// Its name on the control channel, if it has one.
    number: Option<u64>,
    kind: CarrierKind,
    /// The kinds that the gateway takes.
    taken: Vec<String>,
    /// The control channel by which it was asked for.
    channel: mpsc::Sender<Message>,
}

impl Carriers {
    pub(super) fn new(config: &CarriersConfig, dialer: &Dialer) -> Self {
        let prefer = config
            .prefer
            .iter()
            .copied()
            .filter(|kind| has(dialer, *kind));
        Self {
            ways: Ways::new(prefer.collect()),
            up: RefCell::default(),
            dialled: Cell::new(0),
            climbed: Cell::new(None),
            round_trip: Cell::default(),
        }
    }

    /// Ends them all, and forgets them.
    pub(super) async fn close(&self) {
        for up in self.up.take() {
            up.session.close();
            up.session.closed().await;
        }
    }

    /// The kinds to dial, in this order: those better than that of the carrier to be replaced, or all.
    fn order(&self, open: &OpenCarrier, channel: &mpsc::Sender<Message>) -> Vec<CarrierKind> {
        let up = self.up.borrow();
        let old = up.iter().find(|up| {
            let place = &up.place;
            open.replaces.is_some()
                && place.number == open.replaces
                && place.channel.same_channel(channel)
        });
        match old {
            Some(old) => self.ways.better_than(old.place.kind, &open.kinds),
            None => self.ways.order(&open.kinds),
        }
    }

    fn has_climbed(&self) -> bool {
        self.climbed
            .get()
            .is_some_and(|at| at.elapsed() < CARRIER_CLIMB)
    }

    fn is_full(&self) -> bool {
        self.up.borrow().len() + self.dialled.get() >= MAX_AGENT_CARRIERS
    }
}

/// Whether a kind can be dialled. What runs over UDP passes no proxy for HTTP.
pub(super) fn has(dialer: &Dialer, kind: CarrierKind) -> bool {
    kind != CarrierKind::Quic || dialer.proxy().is_none()
}

/// A carrier's connection, before there is a session on it.
pub(super) enum Link {
    Tls(Box<Switched>),
    Quic(quinn::Connection),
    WebSocket(Box<Switched>),
}

/// A session that moves while its driver is polled.
pub(super) struct Begun {
    pub(super) session: Session,
    pub(super) driver: AnyDriver,
    pub(super) pressure: Rc<Pressure>,
}

/// Opens a carrier of this kind by its ticket; `answered` is told the status that the gateway answers
/// with.
///
/// # Errors
/// [`DialError`]; the ticket may be used up.
pub(super) async fn dial(
    dialer: &Dialer,
    kind: CarrierKind,
    ticket: &str,
    answered: impl FnOnce(u16),
) -> Result<Link, DialError> {
    match kind {
        CarrierKind::Tls => {
            let io = tls::dial(dialer, ticket, answered).await?;
            Ok(Link::Tls(Box::new(io)))
        }
        CarrierKind::WebSocket => {
            let io = websocket::dial(dialer, ticket, answered).await?;
            Ok(Link::WebSocket(Box::new(io)))
        }
        CarrierKind::Quic => {
            let dialled = quic::dial(dialer, ticket, dialer.timeout()).await;
            dialled.map(Link::Quic)
        }
    }
}

impl Link {
    /// The two ends of its TCP connection, if it has one.
    fn ends(&self) -> Option<Ends> {
        match self {
            Self::Tls(switched) | Self::WebSocket(switched) => switched.ends,
            Self::Quic(_) => None,
        }
    }

    /// Begins the session; `on_stream` takes each stream that the gateway opens.
    pub(super) fn begin(
        self,
        budget: &Arc<Budget>,
        meters: SessionMeters,
        on_stream: impl FnMut(Stream) + Unpin + 'static,
    ) -> Begun {
        match self {
            Self::Tls(switched) => {
                let settings = Settings::agreed(switched.window, budget);
                begin(switched.io, settings, meters, on_stream)
            }
            Self::Quic(connection) => {
                let (session, driver) = Session::quic(connection, meters, on_stream);
                Begun {
                    session,
                    driver: Box::pin(
                        async move { driver.await.map_err(|error| error.to_string()) },
                    ),
                    pressure: Rc::default(),
                }
            }
            Self::WebSocket(switched) => {
                let settings = Settings::agreed(switched.window, budget);
                let io = WebSocket::client(switched.io);
                begin(io, settings, meters, on_stream)
            }
        }
    }
}

fn begin<T>(
    io: T,
    settings: Settings,
    meters: SessionMeters,
    on_stream: impl FnMut(Stream) + Unpin + 'static,
) -> Begun
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let (io, pressure) = Gauged::new(io);
    let (session, driver) = Session::new(io, Role::Client, settings, meters, on_stream);
    Begun {
        session,
        driver: any_driver(driver),
        pressure,
    }
}

/// Opens a carrier as asked; a failure is logged and told, and the gateway asks again.
pub(super) fn open(shared: &Rc<Shared>, open: OpenCarrier, channel: mpsc::Sender<Message>) {
    let shared = Rc::clone(shared);
    spawn_local(async move {
        let replaces = open.replaces.is_some();
        let opened = connect(&shared, &open, &channel).await;
        if replaces {
            let result = if opened.is_ok() {
                Climb::Ok
            } else {
                Climb::Failed
            };
            shared.metrics.climbs.get(result).inc();
        }
        match opened {
            Ok(won) => {
                let place = Place {
                    number: open.carrier,
                    kind: won.kind,
                    taken: open.kinds,
                    channel,
                };
                run(&shared, won.link, Rc::new(place)).await;
            }
            Err(why) if replaces => tracing::debug!(why, "no better kind of carrier works yet"),
            Err(reason) => {
                tracing::warn!(error = reason, "can not open a carrier");
                // The control channel may be gone by now, and with it whoever asked.
                drop(
                    channel
                        .send(Message::CarrierFailed(CarrierFailed { reason }))
                        .await,
                );
            }
        }
    });
}

async fn connect(
    shared: &Rc<Shared>,
    open: &OpenCarrier,
    channel: &mpsc::Sender<Message>,
) -> Result<Won<Link>, String> {
    let carriers = &shared.carriers;
    if !shared.config.tunnel.enabled {
        return Err("tunnel.enabled is false in the agent's configuration".to_owned());
    }
    if carriers.is_full() {
        return Err(format!(
            "the agent has {MAX_AGENT_CARRIERS} carriers, and holds no more"
        ));
    }
    let order = carriers.order(open, channel);
    if order.is_empty() {
        let taken = open.kinds.join(", ");
        return Err(format!(
            "the gateway takes carriers of the kinds {taken}; the agent's tunnel.carriers.prefer has none of them that it could use"
        ));
    }
    carriers.dialled.set(carriers.dialled.get() + 1);
    let won = carriers
        .ways
        .race(&order, |kind| attempt(shared, kind, &open.ticket))
        .await;
    carriers.dialled.set(carriers.dialled.get() - 1);
    let won = won.map_err(|failures| {
        let reasons = failures
            .iter()
            .map(|(kind, error)| format!("{kind}: {error}"));
        reasons.collect::<Vec<_>>().join("; ")
    })?;
    if won.fallback {
        shared.metrics.fallbacks.get(won.kind).inc();
        tracing::warn!(kind = %won.kind, tried = ?order, "a better kind of carrier does not work; it is tried again later");
    }
    Ok(won)
}

async fn attempt(shared: &Shared, kind: CarrierKind, ticket: &str) -> Result<Link, DialError> {
    let counted = shared.metrics.api.request(Endpoint::Carrier);
    let answered = |status| counted.answered(status);
    let dialled = dial(&shared.dialer, kind, ticket, answered).await;
    dialled.inspect_err(|error| {
        shared.metrics.api.failed(error);
        tracing::debug!(%kind, %error, "a kind of carrier does not work");
    })
}

async fn run(shared: &Rc<Shared>, link: Link, place: Rc<Place>) {
    let for_streams = Rc::clone(shared);
    let kind = place.kind;
    let path = PathWatch::new(link.ends());
    let tunnel = &shared.metrics.tunnel;
    let Begun {
        session,
        driver,
        pressure,
    } = link.begin(&shared.budget, tunnel.session(kind), move |stream| {
        spawn_local(serve::run(Rc::clone(&for_streams), stream));
    });
    let mut up = tunnel.carrier_up(kind);
    let begun = Instant::now();
    shared.carriers.up.borrow_mut().push(Up {
        session: session.clone(),
        place: Rc::clone(&place),
    });
    shared.report_carriers();
    tracing::info!(%kind, carrier = place.number, "carrier up");
    let ended = tokio::select! {
        ended = driver => ended,
        never = tend::tend(shared, &place, &pressure, path) => match never {},
    };
    if ended.is_err() {
        up.end = CarrierEnd::Failed;
    }
    shared
        .carriers
        .up
        .borrow_mut()
        .retain(|up| !Rc::ptr_eq(&up.place, &place));
    shared.report_carriers();
    let stats = session.stats();
    tracing::info!(
        %kind,
        carrier = place.number,
        bytes_sent = stats.sent,
        bytes_received = stats.received,
        streams = stats.streams,
        error = ended.as_ref().err().map(tracing::field::display),
        "carrier down"
    );
    drop(up);
    if ended.is_err() && stats.received == 0 && begun.elapsed() < PROOF {
        sleep(SAME_END).await;
        if !place.channel.is_closed() {
            shared.carriers.ways.falls_behind(kind);
        }
    }
}

impl Shared {
    fn report_carriers(&self) {
        self.reporter.carriers(self.carriers.up.borrow().len());
    }
}
