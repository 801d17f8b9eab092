use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::advance;

use super::*;
use crate::gateway::carrier::SWEEP;
use crate::gateway::store::ClusterRecord;
use crate::metrics::{CarrierKind, Registry, Tunnel};
use crate::mux::{RecvHalf, Role, SendHalf, Session, Settings, Stream};
use crate::relay::Gauged;
use crate::wire::control::Message;
use crate::wire::control::OpenCarrier;
use crate::wire::limits::MAX_STREAMS;

const FAR: u64 = 20_000;

/// The agent's end of a carrier.
type AgentEnd = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// One worker's table, with one agent whose control channel is the test.
struct Table {
    agents: Agents,
    key: AgentKey,
    asked: mpsc::Receiver<Post>,
}

impl Table {
    fn new(carriers: usize) -> Self {
        let (control, asked) = mpsc::channel(64);
        let key = AgentKey {
            cluster: "cls-a".into(),
            generation: 1,
        };
        let agents = Agents::new(0, Arc::default());
        agents.up(AgentHandle {
            key: key.clone(),
            control,
            home: 0,
            ended: CancellationToken::new(),
            carriers,
            round_trip: Arc::new(AtomicU64::new(FAR)),
        });
        Self { agents, key, asked }
    }

    /// What the agent is asked for, if anything.
    fn asked(&mut self) -> Option<OpenCarrier> {
        match self.asked.try_recv() {
            Ok(post) => {
                let Message::OpenCarrier(open) = post.into_message() else {
                    panic!("asked for something else");
                };
                Some(open)
            }
            Err(_) => None,
        }
    }

    /// The agent does as it is asked.
    fn answer(&mut self) -> Rc<Carrier> {
        let open = self.asked().expect("asked for a carrier");
        self.open(&open)
    }

    fn open(&self, open: &OpenCarrier) -> Rc<Carrier> {
        self.open_by(open, |driver| drop(spawn_local(driver)))
    }

    /// `drive` gets the agent's end: what it drops is an end that is there and does nothing.
    fn open_by(&self, open: &OpenCarrier, drive: impl FnOnce(AgentEnd)) -> Rc<Carrier> {
        let tunnel = Tunnel::new(&mut Registry::new("test"), "any").unwrap();
        let meters = || tunnel.session(CarrierKind::Tls);
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (_agent, driver) =
            Session::new(far, Role::Client, Settings::default(), meters(), |stream| {
                spawn_local(greet(stream));
            });
        drive(Box::pin(async move { drop(driver.await) }));
        let (near, pressure) = Gauged::new(near);
        let (session, driver) =
            Session::new(near, Role::Server, Settings::default(), meters(), drop);
        spawn_local(driver);
        let carrier = Rc::new(Carrier::new(open.carrier.unwrap(), session, pressure));
        self.agents
            .adopt(&self.key, &carrier, open.replaces)
            .expect("an agent");
        carrier
    }

    async fn place(&self) -> Rc<Carrier> {
        self.agents.carrier(&cluster()).await.unwrap()
    }

    async fn sweep(&self) {
        advance(SWEEP).await;
        self.agents.sweep();
        // Closed sessions end.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }
}

fn cluster() -> ClusterRecord {
    let at = jiff::Timestamp::UNIX_EPOCH;
    ClusterRecord::new("cls-a".parse().unwrap(), "a".parse().unwrap(), at)
}

/// The agent's end of a stream: says one byte and reads no more.
async fn greet(stream: Stream) {
    let (mut send, _recv) = stream.split();
    poll_fn(|cx| send.poll_send(cx, &mut Bytes::from_static(b"x")))
        .await
        .unwrap();
    std::future::pending().await
}

/// Keeps so many streams of a carrier busy.
async fn busy(carrier: &Carrier, streams: usize) -> Vec<(SendHalf, RecvHalf)> {
    let mut held = Vec::new();
    for _ in 0..streams {
        let (mut send, mut recv) = carrier.session.open().await.unwrap().split();
        poll_fn(|cx| send.poll_send(cx, &mut Bytes::from_static(b"x")))
            .await
            .unwrap();
        poll_fn(|cx| recv.poll_recv(cx)).await.unwrap().unwrap();
        held.push((send, recv));
    }
    held
}

/// Runs on one thread with a clock of its own.
fn paused(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, test);
}

#[test]
fn the_home_worker_asks_at_once_and_again_when_nothing_comes() {
    paused(async {
        let mut table = Table::new(4);
        let open = table.asked().unwrap();
        assert_eq!(open.kinds, ["tls", "websocket"]);
        assert_eq!(open.replaces, None);
        table.agents.sweep();
        assert_eq!(table.asked(), None, "not twice within seconds");
        table.sweep().await;
        assert!(table.asked().is_some());
    });
}

#[test]
fn streams_go_where_least_is_under_way() {
    paused(async {
        let mut table = Table::new(2);
        let first = table.answer();
        let busy = busy(&first, MAX_STREAMS / 2).await;
        assert!(
            Rc::ptr_eq(&table.place().await, &first),
            "nobody waits for the second"
        );
        let second = table.answer();
        for _ in 0..10 {
            assert!(Rc::ptr_eq(&table.place().await, &second));
        }
        drop(busy);
        let _more = self::busy(&second, 1).await;
        assert!(Rc::ptr_eq(&table.place().await, &first));
    });
}

#[test]
fn there_are_no_more_than_the_agent_permits() {
    paused(async {
        let mut table = Table::new(2);
        let mut held = Vec::new();
        for _ in 0..2 {
            let carrier = table.answer();
            held.extend(busy(&carrier, MAX_STREAMS).await);
            let waits = table.agents.pick_from(
                &mut table
                    .agents
                    .clusters
                    .borrow_mut()
                    .get_mut("cls-a")
                    .unwrap()
                    .agents,
            );
            drop(waits);
            advance(ASK_AGAIN).await;
        }
        assert_eq!(table.asked(), None);
        let full = table.agents.carrier(&cluster()).await.unwrap_err();
        assert_eq!(full.code, crate::wire::error::ErrorCode::TooManyStreams);
    });
}

#[test]
fn an_agent_may_ask_for_one_more_and_gets_it_up_to_the_count() {
    paused(async {
        let mut table = Table::new(2);
        let first = table.answer();
        let beside = |carrier| WantCarrier {
            carrier,
            instead: false,
        };
        table.agents.want(&table.key, beside(first.number + 100));
        assert_eq!(table.asked(), None, "another worker's");
        table.agents.want(&table.key, beside(first.number));
        table.answer();
        advance(ASK_AGAIN).await;
        table.agents.want(&table.key, beside(first.number));
        assert_eq!(table.asked(), None);
    });
}

#[test]
fn a_reader_that_stalls_is_no_reason_for_another_carrier() {
    paused(async {
        let mut table = Table::new(4);
        let first = table.answer();
        let (mut send, _recv) = first.session.open().await.unwrap().split();
        let mut data = Bytes::from(vec![0; 1024 * 1024]);
        // The peer keeps the stream and does not read it: first the window is full.
        let sending = poll_fn(|cx| send.poll_send(cx, &mut data));
        drop(tokio::time::timeout(Duration::from_millis(10), sending).await);
        assert!(Rc::ptr_eq(&table.place().await, &first));
        table.sweep().await;
        table.place().await;
        // A stalled reader is no load: its window is full, the connection is not.
        assert_eq!(table.asked(), None);
    });
}

#[test]
fn a_connection_that_stays_full_on_a_long_way_gets_another_beside_it() {
    paused(async {
        let mut table = Table::new(2);
        let open = table.asked().unwrap();
        let mut stuck = None;
        let first = table.open_by(&open, |end| stuck = Some(end));
        let (mut send, _recv) = first.session.open().await.unwrap().split();
        let mut data = Bytes::from(vec![0; 1024 * 1024]);
        let sending = poll_fn(|cx| send.poll_send(cx, &mut data));
        drop(tokio::time::timeout(Duration::from_millis(10), sending).await);
        table.sweep().await;
        assert_eq!(table.asked(), None, "not before somebody has use for it");
        assert!(Rc::ptr_eq(&table.place().await, &first));
        let second = table.answer();
        assert!(Rc::ptr_eq(&table.place().await, &second));
    });
}

#[test]
fn what_is_not_needed_any_more_goes_and_one_stays() {
    paused(async {
        let mut table = Table::new(3);
        let first = table.answer();
        let held = busy(&first, MAX_STREAMS / 2).await;
        table.place().await;
        let second = table.answer();
        drop(held);
        for _ in 0..11 {
            table.sweep().await;
        }
        assert!(!first.session.is_closed() && !second.session.is_closed());
        table.sweep().await;
        table.sweep().await;
        assert!(second.session.is_closed(), "it was idle for a minute");
        for _ in 0..30 {
            table.sweep().await;
        }
        assert!(!first.session.is_closed(), "the first one stays");
        assert_eq!(table.asked(), None);
    });
}

#[test]
fn a_better_one_takes_over_and_what_runs_on_the_old_one_may_end() {
    paused(async {
        let mut table = Table::new(4);
        let old = table.answer();
        let running = busy(&old, 1).await;
        let instead = WantCarrier {
            carrier: old.number,
            instead: true,
        };
        table.agents.want(&table.key, instead);
        let open = table.asked().unwrap();
        assert_eq!(open.replaces, Some(old.number));
        assert!(
            Rc::ptr_eq(&table.place().await, &old),
            "until the other one is there"
        );
        let new = table.open(&open);
        assert!(Rc::ptr_eq(&table.place().await, &new));
        for _ in 0..30 {
            table.sweep().await;
        }
        assert!(!old.session.is_closed());
        drop(running);
        table.sweep().await;
        table.sweep().await;
        assert!(old.session.is_closed());
        table.agents.lost(&table.key, &old);
        assert_eq!(table.asked(), None, "one is there");
        table.agents.want(&table.key, instead);
        assert_eq!(table.asked(), None, "it has been replaced");
    });
}

#[test]
fn a_carrier_that_is_lost_is_asked_for_again_and_others_go_on() {
    paused(async {
        let mut table = Table::new(2);
        let first = table.answer();
        let _held = busy(&first, MAX_STREAMS / 2).await;
        table.place().await;
        let second = table.answer();
        advance(ASK_AGAIN).await;
        table.agents.lost(&table.key, &first);
        assert_eq!(table.asked(), None, "the other one is enough");
        assert!(Rc::ptr_eq(&table.place().await, &second));
        table.agents.lost(&table.key, &second);
        table.answer();
    });
}

#[test]
fn an_agent_that_goes_leaves_its_carriers_to_what_runs_on_them() {
    paused(async {
        let mut table = Table::new(2);
        let carrier = table.answer();
        let running = busy(&carrier, 1).await;
        table.agents.gone(&table.key);
        table.sweep().await;
        assert!(!carrier.session.is_closed());
        drop(running);
        table.sweep().await;
        table.sweep().await;
        assert!(carrier.session.is_closed());
    });
}
