//! Over links that come, go, and stand still.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

use super::*;
use crate::agent::reports::core::Api;
use crate::agent::reports::happening::{EventType, Found, Happening};
use crate::agent::reports::meters::Meters;
use crate::metrics::Registry;

struct Rig {
    shared: std::rc::Rc<Shared>,
    links: watch::Sender<Option<Link>>,
}

impl Rig {
    fn start() -> Self {
        let meters = std::sync::Arc::new(Meters::new(&mut Registry::new("test")).unwrap());
        let shared = std::rc::Rc::new(Shared::new(meters));
        let (links, receiver) = watch::channel(None);
        let telling = std::rc::Rc::clone(&shared);
        spawn_local(async move { tell(&telling, receiver).await });
        Self { shared, links }
    }

    fn link(&self, protocol: u32, room: usize) -> mpsc::Receiver<Message> {
        let (outgoing, messages) = mpsc::channel(room);
        self.links.send_replace(Some(Link { outgoing, protocol }));
        messages
    }

    fn happen(&self, count: usize) {
        let mut core = self.shared.core.borrow_mut();
        for n in 0..count {
            let ready = Happening::new(
                EventType::PodReady,
                "a",
                &n.to_string(),
                Timestamp::UNIX_EPOCH,
            );
            core.queue.push(Found::New(ready), Instant::now());
        }
    }

    fn change(&self, version: &str) {
        self.shared.core.borrow_mut().version = Some(version.to_owned());
    }
}

async fn next(messages: &mut mpsc::Receiver<Message>) -> Message {
    timeout(Duration::from_secs(60), messages.recv())
        .await
        .unwrap()
        .unwrap()
}

fn test(body: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, body());
}

#[test]
fn the_status_is_told_on_each_link_and_when_it_changes_but_not_often() {
    test(async || {
        let rig = Rig::start();
        let mut messages = rig.link(2, 8);
        assert!(matches!(
            next(&mut messages).await,
            Message::ClusterStatus(_)
        ));
        let begun = Instant::now();
        for n in 0..11 {
            rig.change(&n.to_string());
            sleep(Duration::from_secs(1)).await;
        }
        let mut told = 0;
        while let Ok(Message::ClusterStatus(_)) = messages.try_recv() {
            told += 1;
        }
        assert_eq!((told, begun.elapsed().as_secs()), (2, 11));
        rig.change("last");
        sleep(Duration::from_secs(60)).await;
        assert!(matches!(messages.try_recv(), Ok(Message::ClusterStatus(_))));
        assert!(messages.try_recv().is_err(), "nothing has changed");
        let mut messages = rig.link(2, 8);
        assert!(matches!(
            next(&mut messages).await,
            Message::ClusterStatus(_)
        ));
    });
}

#[test]
fn events_go_together_or_one_by_one_as_the_gateway_knows_them() {
    test(async || {
        let rig = Rig::start();
        let mut messages = rig.link(2, 8);
        next(&mut messages).await;
        rig.happen(300);
        let (mut sizes, begun) = (Vec::new(), Instant::now());
        for _ in 0..2 {
            let Message::EventBatch(batch) = next(&mut messages).await else {
                panic!("a batch")
            };
            sizes.push(batch.events.len());
        }
        assert_eq!(sizes, [200, 100]);
        assert_eq!(begun.elapsed().as_secs(), 2);
        assert_eq!(rig.shared.core.borrow().meters.reported.get(), 300);

        let mut messages = rig.link(1, 8);
        next(&mut messages).await;
        rig.happen(12);
        let begun = Instant::now();
        for _ in 0..12 {
            assert!(matches!(next(&mut messages).await, Message::Event(_)));
        }
        assert!(
            begun.elapsed() >= Duration::from_secs(2),
            "at most five in a second"
        );
    });
}

#[test]
fn what_did_not_fit_is_told_as_a_number() {
    test(async || {
        let rig = Rig::start();
        rig.happen(2_500);
        let mut messages = rig.link(2, 8);
        let (mut events, mut left_out) = (0, 0);
        while events + left_out < 2_500 {
            let message = next(&mut messages).await;
            if let Message::EventBatch(batch) = message {
                events += batch.events.len();
            } else if let Message::EventSummary(summary) = message {
                left_out += usize::try_from(summary.left_out).unwrap();
            }
        }
        assert_eq!((events, left_out), (2_000, 500));
    });
}

#[test]
fn a_link_that_stands_still_or_is_lost_takes_nothing_along() {
    test(async || {
        let rig = Rig::start();
        let stalled = rig.link(2, 1);
        rig.happen(500);
        sleep(Duration::from_secs(30)).await;
        assert_eq!(
            rig.shared.core.borrow().queue.len(),
            500,
            "only the status fits"
        );
        drop(stalled);
        sleep(Duration::from_secs(5)).await;
        rig.links.send_replace(None);
        sleep(Duration::from_secs(5)).await;
        assert_eq!(rig.shared.core.borrow().queue.len(), 500);
        let mut messages = rig.link(2, 8);
        rig.shared.core.borrow_mut().api = Api::Answers;
        let mut events = 0;
        while events < 500 {
            if let Message::EventBatch(batch) = next(&mut messages).await {
                events += batch.events.len();
            }
        }
    });
}
