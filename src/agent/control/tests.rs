use super::*;
use crate::agent::config::AgentConfig;
use crate::agent::controller::Controller;
use crate::agent::dial::Dialer;
use crate::agent::metrics::Metrics;
use crate::agent::status::Reporter;
use crate::agent::target::Targets;
use crate::config::{Live, Secret};
use crate::wire::control::CarrierFailed;
use crate::wire::limits::CONTROL_QUEUE;
use tokio::io::DuplexStream;
use tokio::task::{LocalSet, spawn_local};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;

type Gateway = WebSocketStream<DuplexStream>;

const INTERVAL: Duration = Duration::from_secs(15);

fn shared() -> Rc<Shared> {
    let mut config = AgentConfig::default();
    config.kubernetes.enabled = false;
    config.pipeops.api_url = Some("https://localhost:1".to_owned());
    config.pipeops.token = Some(Secret::new("token"));
    let dialer = Dialer::new(&config.pipeops).unwrap();
    let (reporter, status) = Reporter::new(0);
    let metrics = Metrics::new(&config, status, reporter.connected()).unwrap();
    let targets = Targets::new(&config, &metrics.targets).unwrap();
    let draining = CancellationToken::new();
    let config = std::sync::Arc::new(config);
    let meters = std::sync::Arc::clone(&metrics.reports);
    let live = Live::from(AgentConfig::clone(&config));
    let controller = Controller::start(&live, meters, draining.clone()).unwrap();
    Rc::new(Shared::new(
        config,
        dialer,
        (reporter, metrics),
        (targets, controller),
        draining,
    ))
}

fn welcome() -> Message {
    Message::Welcome(Welcome {
        session_id: "s".to_owned(),
        protocol_version: control::PROTOCOL_VERSION,
        cluster_id: "c".to_owned(),
        cluster_name: "c".to_owned(),
        heartbeat_interval_ms: u64::try_from(INTERVAL.as_millis()).unwrap(),
        probe: false,
    })
}

fn failed(n: usize) -> Message {
    Message::CarrierFailed(CarrierFailed {
        reason: n.to_string(),
    })
}

async fn say(gateway: &mut Gateway, message: Message) {
    let envelope = Envelope::new("gw".to_owned(), Timestamp::now(), message);
    let text = WsMessage::text(envelope.encode().unwrap());
    gateway.send(text).await.unwrap();
}

async fn hear(gateway: &mut Gateway) -> Message {
    loop {
        let message = gateway.next().await.unwrap().unwrap();
        if let WsMessage::Text(text) = message {
            match control::decode(&text).unwrap() {
                Decoded::Known(envelope) => return envelope.message,
                Decoded::Unknown { kind, .. } => panic!("{kind}"),
            }
        }
    }
}

/// A channel that runs, and the gateway's end of it.
async fn running(shared: &Rc<Shared>) -> (Gateway, tokio::sync::mpsc::Sender<Message>) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let mut gateway = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
    let agent = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
    say(&mut gateway, welcome()).await;
    let mut channel = Channel::welcomed(agent, Rc::clone(shared)).await.unwrap();
    let producer = channel.outbox.sender();
    spawn_local(async move { channel.run().await });
    (gateway, producer)
}

/// Keeps the queue full for as long as the channel lives.
fn keep_full(producer: tokio::sync::mpsc::Sender<Message>) {
    spawn_local(async move {
        let mut n = 0;
        while producer.send(failed(n)).await.is_ok() {
            n += 1;
        }
    });
}

#[tokio::test(start_paused = true)]
async fn heartbeats_are_on_time_while_the_queue_is_full() {
    let body = async {
        let (mut gateway, producer) = running(&shared()).await;
        keep_full(producer);
        let start = Instant::now();
        let (mut beats, mut others) = (vec![], 0);
        while beats.len() < 9 {
            let message = hear(&mut gateway).await;
            if matches!(message, Message::Heartbeat(_)) {
                beats.push(start.elapsed());
            } else {
                assert_eq!(message, failed(others), "in order, and none is lost");
                others += 1;
            }
        }
        for pair in beats.windows(2) {
            let apart = pair[1] - pair[0];
            let jitter = Duration::from_millis(100) + INTERVAL / 10;
            assert!(apart >= INTERVAL && apart <= INTERVAL + jitter, "{beats:?}");
        }
        let rate = others as f64 / start.elapsed().as_secs_f64();
        assert!(
            (14.0..17.0).contains(&rate),
            "900 a minute and a burst: {rate} a second"
        );
    };
    LocalSet::new().run_until(body).await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_overtakes_a_full_queue() {
    let body = async {
        let shared = shared();
        let (mut gateway, producer) = running(&shared).await;
        for n in 0..200 {
            producer.send(failed(n)).await.unwrap();
        }
        while hear(&mut gateway).await != failed(100) {}
        let told = Instant::now();
        shared.draining.cancel();
        while !matches!(hear(&mut gateway).await, Message::Drain(_)) {}
        assert!(told.elapsed() < Duration::from_millis(200), "{told:?}");
        assert!(
            producer.capacity() < CONTROL_QUEUE,
            "the queue is not empty"
        );
    };
    LocalSet::new().run_until(body).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_slows_the_queue_down_and_not_the_heartbeats() {
    let body = async {
        let (mut gateway, producer) = running(&shared()).await;
        keep_full(producer);
        while hear(&mut gateway).await != failed(150) {}
        let refusal = ErrorReport {
            code: ErrorCode::TooManyRequests.as_str().to_owned(),
            retry_after_ms: Some(20_000),
            ..ErrorReport::default()
        };
        say(&mut gateway, Message::Error(refusal)).await;
        let told = Instant::now();
        let mut next = 151;
        let mut beats = 0;
        while told.elapsed() < Duration::from_secs(80) {
            let message = hear(&mut gateway).await;
            if matches!(message, Message::Heartbeat(_)) {
                beats += 1;
            } else {
                assert_eq!(message, failed(next));
                next += 1;
            }
        }
        assert!((4..=6).contains(&beats), "{beats}");
        let sent = next - 151;
        assert!((430..=460).contains(&sent), "a minute at 450: {sent}");
    };
    LocalSet::new().run_until(body).await;
}
