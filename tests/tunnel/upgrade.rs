//! Switching protocols, byte by byte.

use crate::{
    common::sum::Seeded,
    fixture::{Client, FORMS, Form, Tunnel, sockets_to, until},
    origin::{Accepted, Conn, Origin},
    wire::response,
};
use tokio::io::AsyncWriteExt;

const ASKS: &str = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n";
const SWITCHES: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n";

/// A client and a target, both on the new protocol.
async fn switched(tunnel: &Tunnel, targets: &mut Accepted, form: Form) -> (Client, Conn) {
    let mut client = tunnel.connect(form).await;
    client.send(tunnel.head(form, "POST", "/exec", ASKS)).await;
    let mut target = targets.next().await;
    let head = target.head().await;
    assert_eq!(head.get("upgrade"), Some("SPDY/3.1"));
    assert!(
        head.get("connection")
            .is_some_and(|v| v.eq_ignore_ascii_case("upgrade")),
        "{head:?}"
    );
    target.send(SWITCHES).await;
    let head = client.head().await;
    assert_eq!(
        (head.status(), head.get("upgrade")),
        (101, Some("SPDY/3.1"))
    );
    assert!(
        head.get("connection")
            .is_some_and(|v| v.eq_ignore_ascii_case("upgrade")),
        "{head:?}"
    );
    (client, target)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_switch_bytes_are_bytes() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    for form in FORMS {
        let (mut client, mut target) = switched(&tunnel, &mut targets, form).await;
        // What would be a bad request, were it one.
        let odd = b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\n\0\xff";
        client.send(odd).await;
        assert_eq!(target.exactly(odd.len()).await, odd);
        for n in 0..50 {
            let up = Seeded::bytes(n, 1 + n * 1000);
            let down = Seeded::bytes(n + 100, 1 + n * 1000);
            client.send(&up).await;
            target.send(&down).await;
            assert_eq!(target.exactly(up.len()).await, up);
            assert_eq!(client.exactly(down.len()).await, down);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_come_with_the_request_or_with_the_101_are_not_lost() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    let early = Seeded::bytes(1, 3000);
    let head = tunnel.head(Form::Host, "GET", "/exec", ASKS);
    client.send([head.as_bytes(), &early].concat()).await;
    let mut target = targets.next().await;
    target.head().await;
    let first = Seeded::bytes(2, 3000);
    target.send([SWITCHES.as_bytes(), &first].concat()).await;
    assert_eq!(client.head().await.status(), 101);
    assert_eq!(client.exactly(first.len()).await, first);
    assert_eq!(target.exactly(early.len()).await, early);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_come_early_are_held_back_until_the_switch() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    let head = tunnel.head(Form::Host, "GET", "/exec", ASKS);
    let smuggled = tunnel.get("/smuggled");
    client.send(format!("{head}{smuggled}")).await;
    let mut target = targets.next().await;
    target.head().await;
    target.send(response("403 Forbidden", "", "no")).await;
    let answer = client.answer("GET").await;
    assert_eq!((answer.status(), answer.text().as_str()), (403, "no"));
    let after = client.closed().await;
    assert!(after.is_empty(), "{:?}", String::from_utf8_lossy(&after));
    assert!(
        !origin.saw("/smuggled"),
        "early bytes were sent before the switch"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_upgrade_passes_its_answer_and_closes_both_sides() {
    for (status, code) in [
        ("403 Forbidden", 403),
        ("200 OK", 200),
        ("426 Upgrade Required", 426),
        ("500 Oh", 500),
    ] {
        let (origin, mut targets) = Origin::accepting().await;
        let tunnel = Tunnel::to(&origin);
        let mut client = tunnel.connect(Form::Host).await;
        client
            .send(tunnel.head(Form::Host, "GET", "/exec", ASKS))
            .await;
        let mut target = targets.next().await;
        target.head().await;
        target
            .send(response(status, "X-Why: because\r\n", "not today"))
            .await;
        let answer = client.answer("GET").await;
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (code, "not today")
        );
        assert_eq!(answer.head.get("x-why"), Some("because"));
        assert_eq!(client.closed().await, b"", "the client's side after {code}");
        let pid = tunnel.agent.process.pid();
        until("the agent to let go of the target", || {
            match sockets_to(pid, origin.addr) {
                0 => Ok(()),
                n => Err(format!("{n} sockets are open")),
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_may_end_its_side_first() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let (mut client, mut target) = switched(&tunnel, &mut targets, Form::Host).await;
    client.send("the last").await;
    client.io.shutdown().await.unwrap();
    assert_eq!(target.rest().await.bytes, b"the last");
    let rest = Seeded::bytes(5, 3_000_000);
    target.send(&rest).await;
    target.io.shutdown().await.unwrap();
    let got = client.rest().await;
    assert!(
        got.complete && got.bytes == rest,
        "{} bytes",
        got.bytes.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_may_end_its_side_first() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let (mut client, mut target) = switched(&tunnel, &mut targets, Form::Host).await;
    target.send("the last").await;
    target.io.shutdown().await.unwrap();
    let got = client.rest().await;
    assert!(got.complete && got.bytes == b"the last", "{got:?}");
    let rest = Seeded::bytes(6, 3_000_000);
    client.send(&rest).await;
    client.io.shutdown().await.unwrap();
    let got = target.rest().await;
    assert!(
        got.complete && got.bytes == rest,
        "{} bytes",
        got.bytes.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_without_a_word_ends_the_other_side() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let (client, mut target) = switched(&tunnel, &mut targets, Form::Host).await;
    drop(client);
    target.closed().await;
    let (mut client, target) = switched(&tunnel, &mut targets, Form::Host).await;
    drop(target);
    client.closed().await;
    let (mut client, target) = switched(&tunnel, &mut targets, Form::Host).await;
    tunnel.agent.process.signal("KILL");
    assert!(
        !client.rest().await.complete,
        "a killed agent is no end in good order"
    );
    drop(target);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_nobody_asked_for_is_a_fault_of_the_target() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    client.send(tunnel.get("/")).await;
    let mut target = targets.next().await;
    target.head().await;
    target.send(SWITCHES).await;
    target.send("raw").await;
    let answer = client.answer("GET").await;
    assert_eq!(
        (answer.status(), answer.code().as_str()),
        (502, "TARGET_FAILED")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_header_without_its_connection_option_asks_for_nothing() {
    let origin = Origin::mirror().await;
    let tunnel = Tunnel::to(&origin);
    for fields in [
        "Upgrade: SPDY/3.1\r\n",
        "Connection: upgrade\r\n",
        "Upgrade: h2c, SPDY/3.1\r\nConnection: Upgrade\r\n",
    ] {
        let answer = tunnel
            .ask(tunnel.head(Form::Host, "GET", "/", fields))
            .await;
        assert_eq!(answer.status(), 200, "{fields}");
        let seen = answer.text().to_lowercase();
        assert!(!seen.contains("upgrade"), "{fields}: {seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_of_an_upgraded_connection_holds_the_other_side_back() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let (mut client, mut target) = switched(&tunnel, &mut targets, Form::Host).await;
    let block = Seeded::bytes(1, 1024 * 1024);
    let second = std::time::Duration::from_secs(2);
    let mut sent = 0_usize;
    loop {
        // A write that is given up may have been made in part: count what it took.
        let wrote =
            tokio::time::timeout(second, target.io.write(&block[sent % block.len()..])).await;
        let Ok(n) = wrote else { break };
        sent += n.unwrap();
        assert!(
            sent < 64 * block.len(),
            "{sent} bytes were taken for a client that reads nothing"
        );
    }
    let got = client.exactly(sent).await;
    for (n, part) in got.chunks(block.len()).enumerate() {
        assert!(part == &block[..part.len()], "MiB {n} differs");
    }
}
