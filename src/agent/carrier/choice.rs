//! Which kind of carrier is dialled: the best that works, without waiting twice for one that does not.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::DialError;
use crate::wire::carrier::CarrierKind;
use crate::wire::limits::CARRIER_FALLBACK;

/// For so long a path is taken to lose packets once it has; then the kinds are in their order again,
/// and it has to show.
const LOSSY: Duration = Duration::from_secs(30 * 60);

/// The kinds that this agent may use, and what it has learnt about them.
#[derive(Debug)]
pub(in crate::agent) struct Ways {
    /// Best first.
    prefer: Vec<CarrierKind>,
    /// Those that did not work where another one did, or would not come to an end.
    behind: RefCell<Vec<CarrierKind>>,
    /// The path loses packets, as far as is known until then.
    lossy: Cell<Option<Instant>>,
    improved: Notify,
}

/// A kind that worked.
#[derive(Debug)]
pub(super) struct Won<T> {
    pub(super) kind: CarrierKind,
    pub(super) link: T,
    /// Better ones had been tried before it.
    pub(super) fallback: bool,
}

impl Ways {
    /// Those of the configuration, by its order.
    pub(super) fn new(prefer: Vec<CarrierKind>) -> Self {
        Self {
            prefer,
            behind: RefCell::default(),
            lossy: Cell::default(),
            improved: Notify::new(),
        }
    }

    /// The kinds to dial of those that the gateway takes, in the order to try them.
    pub(super) fn order(&self, taken: &[String]) -> Vec<CarrierKind> {
        let mut order = self.usable(taken);
        let behind = self.behind.borrow();
        order.sort_by_key(|kind| behind.contains(kind));
        order
    }

    /// Those among them that are better than this one.
    pub(super) fn better_than(&self, kind: CarrierKind, taken: &[String]) -> Vec<CarrierKind> {
        let usable = self.usable(taken).into_iter();
        usable.take_while(|other| *other != kind).collect()
    }

    /// Those of the configuration that the gateway takes, best first: on a path that loses packets
    /// QUIC is.
    fn usable(&self, taken: &[String]) -> Vec<CarrierKind> {
        let taken = |kind: &&CarrierKind| taken.iter().any(|name| name == kind.as_str());
        let mut usable: Vec<_> = self.prefer.iter().filter(taken).copied().collect();
        if self.lossy.get().is_some_and(|until| Instant::now() < until) {
            usable.sort_by_key(|kind| *kind != CarrierKind::Quic);
        }
        usable
    }

    /// Whether a path that loses packets would make another kind than this one the best.
    pub(super) fn loss_matters(&self, kind: CarrierKind, taken: &[String]) -> bool {
        kind != CarrierKind::Quic && self.usable(taken).contains(&CarrierKind::Quic)
    }

    /// Notes that the path loses packets, which is believed for [`LOSSY`].
    pub(super) fn loses_packets(&self) {
        self.lossy.set(Some(Instant::now() + LOSSY));
        self.improved.notify_waiters();
    }

    /// Resolves when a kind works that did not before, or has become the best.
    pub(super) async fn improved(&self) {
        self.improved.notified().await;
    }

    /// Notes that a kind works.
    fn works(&self, kind: CarrierKind) {
        let mut behind = self.behind.borrow_mut();
        if let Some(at) = behind.iter().position(|known| *known == kind) {
            behind.remove(at);
            self.improved.notify_waiters();
        }
    }

    /// Notes that others are to be tried first.
    pub(super) fn falls_behind(&self, kind: CarrierKind) {
        let mut behind = self.behind.borrow_mut();
        if !behind.contains(&kind) {
            behind.push(kind);
        }
    }

    /// Dials these kinds, one after the other. One that hangs is overtaken and not given up: the next
    /// one starts beside it, the last within [`CARRIER_FALLBACK`], and the first that is through has
    /// won. All have the same ticket, which only a handshake that reaches the gateway uses up.
    ///
    /// # Errors
    /// What each kind failed by; none of them where there are no kinds.
    pub(super) async fn race<T, F>(
        &self,
        kinds: &[CarrierKind],
        dial: impl Fn(CarrierKind) -> F,
    ) -> Result<Won<T>, Vec<(CarrierKind, DialError)>>
    where
        F: Future<Output = Result<T, DialError>>,
    {
        let head_start = head_start(kinds.len());
        let (mut tries, mut failures) = (FuturesUnordered::new(), Vec::new());
        let mut started = 0;
        loop {
            if let Some(kind) = kinds.get(started).copied() {
                let dialled = dial(kind);
                tries.push(async move { (kind, dialled.await) });
                started += 1;
            }
            let ended = if started == kinds.len() {
                tries.next().await
            } else {
                // None within the head start: the next one starts, and this one counts as slow.
                timeout(head_start, tries.next()).await.unwrap_or_else(|_| {
                    kinds
                        .get(started - 1)
                        .iter()
                        .for_each(|kind| self.falls_behind(**kind));
                    None
                })
            };
            match ended {
                Some((kind, Ok(link))) => {
                    let lost = kinds.iter().take_while(|other| **other != kind);
                    lost.for_each(|kind| self.falls_behind(*kind));
                    self.works(kind);
                    let fallback = kinds.first() != Some(&kind);
                    return Ok(Won {
                        kind,
                        link,
                        fallback,
                    });
                }
                Some((kind, Err(error))) => failures.push((kind, error)),
                None if started == kinds.len() && tries.is_empty() => return Err(failures),
                None => {}
            }
        }
    }
}

/// How long a kind is tried alone, so that the last of so many starts in time.
fn head_start(kinds: usize) -> Duration {
    let others = u32::try_from(kinds).unwrap_or(u32::MAX);
    CARRIER_FALLBACK / others.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use CarrierKind::{Quic, Tls, WebSocket};
    use tokio::time::sleep;

    const ALL: [CarrierKind; 3] = [Tls, Quic, WebSocket];

    fn ways() -> (Ways, Vec<String>) {
        let taken = CarrierKind::ALL.map(|kind| kind.to_string());
        (Ways::new(ALL.to_vec()), taken.to_vec())
    }

    fn failed() -> DialError {
        DialError::Unreachable("no".to_owned())
    }

    /// Dials by these rules: how long each kind takes, and whether it works.
    async fn race(
        ways: &Ways,
        kinds: &[CarrierKind],
        rules: [(u64, bool); 3],
    ) -> Option<(CarrierKind, bool)> {
        let dial = async |kind: CarrierKind| {
            let (seconds, works) = rules[kind as usize];
            sleep(Duration::from_millis(seconds)).await;
            works.then_some(()).ok_or_else(failed)
        };
        let won = ways.race(kinds, dial).await.ok();
        won.map(|won| (won.kind, won.fallback))
    }

    #[tokio::test(start_paused = true)]
    async fn the_best_that_works_in_time_is_taken() {
        let (ways, taken) = ways();
        assert_eq!(
            race(&ways, &ways.order(&taken), [(900, true); 3]).await,
            Some((Tls, false))
        );
        assert_eq!(ways.order(&taken), ALL);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_is_overtaken_within_three_seconds_and_not_waited_for_again() {
        let (ways, taken) = ways();
        let hangs = (3_600_000, true);
        let start = Instant::now();
        let order = ways.order(&taken);
        assert_eq!(
            race(&ways, &order, [hangs, hangs, (10, true)]).await,
            Some((WebSocket, true))
        );
        assert!(start.elapsed() < CARRIER_FALLBACK, "{:?}", start.elapsed());
        assert_eq!(ways.order(&taken), [WebSocket, Tls, Quic]);
        let start = Instant::now();
        race(&ways, &ways.order(&taken), [hangs, hangs, (10, true)])
            .await
            .unwrap();
        assert_eq!(start.elapsed(), Duration::from_millis(10));
        assert_eq!(ways.better_than(WebSocket, &taken), [Tls, Quic]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_at_once_is_followed_at_once() {
        let (ways, taken) = ways();
        let start = Instant::now();
        let rules = [(5, false), (5, false), (5, true)];
        assert_eq!(
            race(&ways, &ways.order(&taken), rules).await,
            Some((WebSocket, true))
        );
        assert_eq!(start.elapsed(), Duration::from_millis(15));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_one_that_still_comes_first_has_won_and_stays_the_first() {
        let (ways, taken) = ways();
        let rules = [(1_500, true), (3_000, true), (3_000, true)];
        assert_eq!(
            race(&ways, &ways.order(&taken), rules).await,
            Some((Tls, false))
        );
        assert_eq!(ways.order(&taken)[0], Tls);
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_that_a_hanging_try_has_used_up_costs_no_second_wait() {
        let (ways, taken) = ways();
        let dial = async |kind: CarrierKind| match kind {
            // It reached the gateway, and the answer was lost on the way back.
            Tls => std::future::pending().await,
            Quic | WebSocket => Err::<(), _>(DialError::Refused("used".to_owned())),
        };
        let order = ways.order(&taken);
        let race = timeout(Duration::from_secs(10), ways.race(&order, dial));
        assert!(race.await.is_err(), "it may still come");
        // The gateway asks again meanwhile, and the next ticket goes another way at once.
        assert_eq!(ways.order(&taken), [Quic, WebSocket, Tls]);
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_works_the_order_stays_and_all_reasons_are_told() {
        let (ways, taken) = ways();
        let dial = async |_| Err::<(), _>(failed());
        let failures = ways.race(&ALL, dial).await.unwrap_err();
        assert_eq!(
            failures.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
            ALL
        );
        assert_eq!(ways.order(&taken), ALL);
        assert!(ways.race(&[], dial).await.unwrap_err().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_works_again_is_told_to_those_who_wait() {
        let (ways, taken) = ways();
        race(
            &ways,
            &ways.order(&taken),
            [(5, false), (5, false), (5, true)],
        )
        .await
        .unwrap();
        let climbs = async {
            sleep(Duration::from_secs(40)).await;
            race(&ways, &[Tls], [(5, true); 3]).await
        };
        let ((), climbed) = tokio::join!(ways.improved(), climbs);
        assert_eq!(climbed, Some((Tls, false)));
        assert_eq!(ways.order(&taken), [Tls, WebSocket, Quic]);
    }

    #[test]
    fn only_what_both_sides_have_is_tried() {
        let ways = Ways::new(vec![WebSocket, Tls]);
        let taken = ["tls", "pigeon", "quic"].map(str::to_owned);
        assert_eq!(ways.order(&taken), [Tls]);
        assert_eq!(ways.better_than(Tls, &taken), []);
    }

    #[tokio::test(start_paused = true)]
    async fn on_a_path_that_loses_packets_quic_is_the_best_for_a_while() {
        let (ways, taken) = ways();
        assert!(ways.better_than(Tls, &taken).is_empty());
        assert!(ways.loss_matters(Tls, &taken));
        assert!(!ways.loss_matters(Quic, &taken));
        ways.loses_packets();
        assert_eq!(ways.order(&taken), [Quic, Tls, WebSocket]);
        assert_eq!(ways.better_than(Tls, &taken), [Quic]);
        assert!(ways.better_than(Quic, &taken).is_empty());
        sleep(LOSSY).await;
        assert_eq!(ways.order(&taken), ALL);
        assert_eq!(ways.better_than(Quic, &taken), [Tls]);
    }

    #[test]
    fn a_kind_that_is_left_out_is_not_used_on_a_path_that_loses_packets_either() {
        let taken = ["tls", "quic"].map(str::to_owned);
        let ways = Ways::new(vec![Tls, WebSocket]);
        assert!(!ways.loss_matters(Tls, &taken));
        ways.loses_packets();
        assert_eq!(ways.order(&taken), [Tls]);
    }
}
