//! Who may open a carrier over QUIC.

use super::{metric, peer};
use crate::{
    common::{face::Face, gateway::Gateway},
    connecting::ticket,
    fixture::{Cluster, shared_gateway},
    wire::within,
};
use pipeops_tunnel::wire::limits::QUIC_RETRY_ABOVE;
use tokio::net::UdpSocket;

const MUX: &[u8] = b"pipeops-mux";

async fn new_ticket(gateway: &Gateway) -> String {
    let cluster = Cluster::new();
    let agent = gateway.agent_token(&cluster.name, &cluster.id);
    ticket(gateway, &cluster, &agent).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_needs_a_ticket_that_is_good_once() {
    let gateway = shared_gateway();
    let refused = "the server refused to accept a new connection";
    for unknown in ["garbage", &"0".repeat(64)] {
        let error = within(
            "an answer",
            peer::begin(gateway, gateway.addr, unknown, MUX),
        )
        .await;
        assert!(error.unwrap_err().to_string().contains(refused));
    }
    let ticket = new_ticket(gateway).await;
    let begin = || peer::begin(gateway, gateway.addr, &ticket, MUX);
    // Having begun with the right one proves nothing.
    let connection = within("a handshake", begin()).await.unwrap();
    let answer = within("an answer", peer::show(&connection, &[b'0'; 64])).await;
    let error = answer.unwrap_err();
    assert!(error.contains("unknown, used or too old"), "{error}");
    let connection = within("a handshake", begin()).await.unwrap();
    let answer = within("an answer", peer::show(&connection, ticket.as_bytes())).await;
    assert_eq!(answer.unwrap(), [1]);
    let other = new_ticket(gateway).await;
    let other = peer::begin(gateway, gateway.addr, &other, MUX);
    let other = within("a handshake", other).await.unwrap();
    let answer = within("an answer", peer::show(&other, ticket.as_bytes())).await;
    let error = answer.unwrap_err();
    assert!(
        error.contains("unknown, used or too old"),
        "the second use: {error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_ticket_is_not_read_for_long() {
    let gateway = shared_gateway();
    let ticket = new_ticket(gateway).await;
    let begin = |alpn| peer::begin(gateway, gateway.addr, &ticket, alpn);
    within("an answer", begin(b"h3")).await.unwrap_err();
    for shown in [&b""[..], &[0xFF; 64], &[b'a'; 129], &[b'a'; 1_000_000]] {
        let connection = within("a handshake", begin(MUX)).await.unwrap();
        let answer = within("an answer", peer::show(&connection, shown)).await;
        answer.unwrap_err();
    }
    // One that shows nothing is gone after a while, and the ticket is as good as before.
    let silent = within("a handshake", begin(MUX)).await.unwrap();
    within("the end of a silent one", silent.closed()).await;
}

/// As many handshakes as are begun and not gone on with, each with a ticket of its own.
#[tokio::test(flavor = "multi_thread")]
async fn beyond_many_handshakes_a_peer_shows_first_where_it_is() {
    let mut gateway = Gateway::start();
    let face: Face = gateway.face();
    let results = "pipeops_gateway_quic_handshakes_total";
    let mut tickets = Vec::new();
    for _ in 0..=QUIC_RETRY_ABOVE {
        tickets.push(new_ticket(&gateway).await);
    }
    let last = tickets.pop().unwrap();
    let mut begun = Vec::new();
    for ticket in &tickets {
        // The gateway gets the first packet and no other.
        let stage = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let connecting = peer::begin(&gateway, stage.local_addr().unwrap(), ticket, MUX);
        let mut first = [0; 2_000];
        let length = stage.recv(&mut first).await.unwrap();
        stage.send_to(&first[..length], gateway.addr).await.unwrap();
        // Its handshake is under way once it answers.
        within("an answer", stage.recv(&mut [0; 2_000]))
            .await
            .unwrap();
        begun.push((stage, connecting));
    }
    assert_eq!(metric(face, results, "retried").await, 0.0);
    let connecting = peer::begin(&gateway, gateway.addr, &last, MUX);
    let connection = within("a handshake after a retry", connecting)
        .await
        .unwrap();
    let answer = within("an answer", peer::show(&connection, last.as_bytes())).await;
    assert_eq!(answer.unwrap(), [1]);
    assert_eq!(metric(face, results, "retried").await, 1.0);
    drop(begun);
}
