//! Carriers over QUIC. What all carriers do is tested by the whole of this binary with
//! `PIPEOPS_TEST_CARRIER=quic`; here is what only QUIC does, and the heart of the rest.

mod moving;
mod peer;
mod tickets;
mod trouble;
mod wide;

use crate::{
    common::{face::Face, link::Link},
    fixture::{GatewayOf, Tunnel, demo, shared_gateway},
    origin::Origin,
    wire::Wire,
};
use tokio::net::TcpStream;

/// A tunnel by QUIC alone, through the shared gateway.
fn tunnel(origin: &Origin) -> Tunnel {
    by(GatewayOf::All(shared_gateway()), origin)
}

/// The same, by this gateway.
fn by(gateway: GatewayOf, origin: &Origin) -> Tunnel {
    Tunnel::having(gateway, &[demo(origin)], |agent| agent.carriers(&["quic"]))
}

/// The same, over this path.
fn over(gateway: GatewayOf, link: &Link, origin: &Origin) -> Tunnel {
    let url = format!("https://localhost:{}", link.addr.port());
    Tunnel::having(gateway, &[demo(origin)], |agent| {
        agent
            .carriers(&["quic"])
            .edit(|yaml| yaml["pipeops"]["api_url"] = url.into())
    })
}

/// The sum of a program's series of this name whose labels hold `with`.
async fn metric(face: Face, name: &str, with: &str) -> f64 {
    let stream = TcpStream::connect(face.metrics).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let text = Wire::new(stream).ask(request).await.text();
    let series = format!("{name}{{");
    text.lines()
        .filter(|line| line.starts_with(&series) && line.contains(with))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}
