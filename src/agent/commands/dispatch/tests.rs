use tokio::task::LocalSet;

use super::*;
use crate::wire::control::{Deploy, DeployResult};

/// Gives orders to a dispatcher without a cluster, which refuses what it would have to ask one for.
struct Bench {
    orders: mpsc::Sender<Order>,
    links: watch::Sender<Option<Link>>,
}

impl Bench {
    fn start() -> Self {
        let mut config = AgentConfig::default();
        config.kubernetes.enabled = false;
        let (links, link) = watch::channel(None);
        let (orders, inbox) = mpsc::channel(8);
        let (count, draining) = (watch::channel(0).0, CancellationToken::new());
        spawn_local(Dispatcher::new(Live::from(config), link, count, draining).run(inbox));
        Self { orders, links }
    }

    fn connect(&self, protocol: u32) -> mpsc::Receiver<Message> {
        let (outgoing, messages) = mpsc::channel(8);
        self.links.send_replace(Some(Link { outgoing, protocol }));
        messages
    }

    async fn give(&self, id: &str, message: Message) {
        let id = id.to_owned();
        self.orders.send(Order { id, message }).await.unwrap();
    }

    async fn deploy(&self, id: &str) {
        self.give(id, Message::Deploy(Deploy::default())).await;
    }
}

async fn ack(messages: &mut mpsc::Receiver<Message>) -> String {
    let Some(Message::Ack(ack)) = messages.recv().await else {
        panic!("no ack");
    };
    ack.command_id
}

async fn result(messages: &mut mpsc::Receiver<Message>) -> DeployResult {
    let Some(Message::DeployResult(result)) = messages.recv().await else {
        panic!("no result");
    };
    result
}

#[tokio::test]
async fn a_result_is_sent_until_it_is_acknowledged_and_its_command_carried_out_once() {
    let work = async {
        let bench = Bench::start();
        let mut lost = bench.connect(2);
        bench.deploy("c-1").await;
        assert_eq!(ack(&mut lost).await, "c-1");
        // With all that was on its way.
        drop(lost);
        let mut messages = bench.connect(2);
        assert_eq!(result(&mut messages).await.outcome, Outcome::Refused);
        // Given again, it is answered and not begun.
        bench.deploy("c-1").await;
        assert_eq!(result(&mut messages).await.command_id, "c-1");
        let acknowledged = Ack {
            command_id: "c-1".to_owned(),
        };
        bench.give("gw-1", Message::Ack(acknowledged)).await;
        bench.deploy("c-1").await;
        assert_eq!(ack(&mut messages).await, "c-1");
        // Nothing is left to be sent again: the next that comes is another command's.
        let mut messages = bench.connect(2);
        bench.deploy("c-2").await;
        assert_eq!(ack(&mut messages).await, "c-2");
        assert_eq!(result(&mut messages).await.command_id, "c-2");
    };
    LocalSet::new().run_until(work).await;
}

#[tokio::test]
async fn a_platform_of_the_first_version_acknowledges_nothing_and_gets_each_result_once() {
    let work = async {
        let bench = Bench::start();
        let mut messages = bench.connect(1);
        bench.deploy("c-1").await;
        ack(&mut messages).await;
        result(&mut messages).await;
        let mut messages = bench.connect(1);
        bench.deploy("c-2").await;
        assert_eq!(ack(&mut messages).await, "c-2");
    };
    LocalSet::new().run_until(work).await;
}

#[tokio::test]
async fn what_comes_too_late_is_not_begun() {
    let work = async {
        let bench = Bench::start();
        let mut messages = bench.connect(2);
        let late = Deploy {
            expires_at: Some(Timestamp::UNIX_EPOCH),
            ..Deploy::default()
        };
        bench.give("c-1", Message::Deploy(late)).await;
        assert_eq!(result(&mut messages).await.outcome, Outcome::Expired);
    };
    LocalSet::new().run_until(work).await;
}
