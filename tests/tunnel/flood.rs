//! Agents that say too much: what is above the limit is refused and not acted on, the channel
//! lives, and nobody else notices.

use crate::{
    fixture::{Cluster, Tunnel, connect, demo, shared_gateway, until},
    origin::Origin,
    wire::within,
};
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// The control channel of an agent by hand.
struct Agent {
    write: SplitSink<Socket, Message>,
    read: SplitStream<Socket>,
}

impl Agent {
    async fn of(cluster: &Cluster) -> Self {
        let gateway = shared_gateway();
        let token = gateway.agent_token(&cluster.name, &cluster.id);
        let url = format!("wss://localhost:{}/v1/agent/connect", gateway.addr.port());
        let mut request = url.into_client_request().unwrap();
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        let (_, stream) = connect(gateway, "localhost").await.into_parts();
        let (socket, _) = client_async(request, stream).await.unwrap();
        let (write, read) = socket.split();
        let mut agent = Self { write, read };
        assert_eq!(agent.next().await["type"], "welcome");
        agent
    }

    /// The next message that is not about carriers.
    async fn next(&mut self) -> Value {
        loop {
            let message = within("a control message", self.read.next()).await;
            if let Message::Text(text) = message.expect("a channel that lives").unwrap() {
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["type"] != "open_carrier" {
                    return message;
                }
            }
        }
    }

    async fn send(&mut self, message: Message) {
        within("the gateway to read", self.write.send(message))
            .await
            .unwrap();
    }

    async fn send_text(&mut self, kind: &str, id: &str, payload: Value) {
        let time = "2026-01-01T00:00:00Z";
        let message = json!({"type": kind, "id": id, "timestamp": time, "payload": payload});
        self.send(Message::text(message.to_string())).await;
    }
}

fn heartbeat() -> Value {
    json!({"status": "healthy", "metrics": {}})
}

/// Asks again and again until `flood` has ended; every answer is right.
async fn served_during(flood: impl Future<Output = ()>) {
    let origin = Origin::echo().await;
    let other = Tunnel::with(&[demo(&origin)]);
    let asking = async {
        let mut answers = 0;
        loop {
            let answer = other.ask(other.post("/", "unharmed")).await;
            assert_eq!((answer.status(), answer.text().as_str()), (200, "unharmed"));
            answers += 1;
            if answers >= 20 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    tokio::select! {
        () = asking => {}
        () = flood => {}
    }
    let answer = other.ask(other.post("/", "after")).await;
    assert_eq!(answer.text(), "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_above_the_limit_are_refused_and_the_channel_lives() {
    let cluster = Cluster::new();
    let mut agent = Agent::of(&cluster).await;
    served_during(async {
        let start = Instant::now();
        for n in 0..500 {
            agent
                .send_text("heartbeat", &format!("m-{n}"), heartbeat())
                .await;
        }
        agent
            .send_text("drain", "late", json!({"reason": "above the limit"}))
            .await;
        let (mut refused, mut errors) = (0, 0);
        // A burst, and what the rate allows while 500 are on their way, is all that is taken.
        while refused < 401 - 17 * (1 + start.elapsed().as_secs()) {
            let error = agent.next().await;
            assert_eq!(
                (&error["type"], &error["payload"]["code"]),
                (&json!("error"), &json!("TOO_MANY_REQUESTS"))
            );
            if errors == 0 {
                let payload = &error["payload"];
                assert!(
                    payload["message_id"].as_str().unwrap().starts_with("m-1"),
                    "{error}"
                );
                assert!(
                    (1..=60).contains(&payload["retry_after_ms"].as_u64().unwrap()),
                    "{error}"
                );
            }
            refused += error["payload"]["refused"].as_u64().unwrap();
            errors += 1;
        }
        assert!(
            errors <= 1 + start.elapsed().as_secs(),
            "{errors} errors in {:?}",
            start.elapsed()
        );
        assert!(
            refused <= 401,
            "no more than were sent beyond a burst: {refused}"
        );
    })
    .await;
    assert_not_draining(&cluster);
    // Once the rate allows it, messages are taken again.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    agent
        .send_text("drain", "in time", json!({"reason": "within the limit"}))
        .await;
    agent.send_text("drain", "wrong", json!(7)).await;
    let error = agent.next().await;
    assert_eq!(error["payload"]["code"], "INVALID_REQUEST");
    assert_eq!(error["payload"]["message_id"], "wrong");
    // What it logs comes by another way than its answers.
    until("the one before it to be acted on", || {
        let tail = || shared_gateway().tail().to_string();
        drained(&cluster).then_some(()).ok_or_else(tail)
    })
    .await;
}

fn drained(cluster: &Cluster) -> bool {
    let log = shared_gateway().process.output();
    let id = format!("\"{}\"", cluster.id);
    log.lines()
        .any(|line| line.contains("agent drains") && line.contains(&id))
}

fn assert_not_draining(cluster: &Cluster) {
    assert!(!drained(cluster), "{}", shared_gateway().tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_garbage_is_not_answered_with_a_flood() {
    let mut agent = Agent::of(&Cluster::new()).await;
    served_during(async {
        let start = Instant::now();
        for _ in 0..300 {
            agent.send(Message::text("{")).await;
        }
        let mut refused = 0;
        let mut errors = 0;
        while refused < 300 {
            let error = agent.next().await;
            refused += error["payload"]["refused"].as_u64().unwrap();
            errors += 1;
        }
        assert_eq!(refused, 300);
        assert!(
            errors <= 1 + start.elapsed().as_secs(),
            "{errors} in {:?}",
            start.elapsed()
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_pings_is_read_slowly_and_the_channel_lives() {
    let Agent {
        mut write,
        mut read,
    } = Agent::of(&Cluster::new()).await;
    // More than the read-ahead of all buffers; the writer waits in the end.
    let flood = tokio::spawn(async move {
        let ping = Message::Ping(vec![7; 100].into());
        for _ in 0..200_000 {
            within("pings to be read", write.feed(ping.clone()))
                .await
                .unwrap();
        }
    });
    served_during(async {
        let start = Instant::now();
        let mut pongs = 0;
        while pongs < 1_000 {
            let message = within("pongs", read.next()).await.unwrap().unwrap();
            assert!(!message.is_close(), "{message:?}");
            pongs += u64::from(message.is_pong());
        }
        let bound = 601 + 100 * (1 + start.elapsed().as_secs());
        assert!(
            pongs <= bound,
            "{pongs} pongs in {:?}, more than {bound}",
            start.elapsed()
        );
    })
    .await;
    flood.abort();
}
