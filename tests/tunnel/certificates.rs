//! Certificates from files, replaced while the gateway runs.

use crate::{
    common::{gateway::Gateway, temp_dir},
    fixture::{Form, Tunnel, demo, tls, until},
    origin::Origin,
    wire::DEADLINE,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A new CA and a certificate of it; answers the CA's file.
fn issue(dir: &Path) -> PathBuf {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["localhost", "127.0.0.1", "*.pipeops.localhost"].map(str::to_owned);
    let cert = CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    fs::write(dir.join("tls.key"), key.serialize_pem()).unwrap();
    fs::write(dir.join("tls.crt"), cert.pem()).unwrap();
    let ca = temp_dir("ca").join("ca.crt");
    fs::write(&ca, issuer.pem()).unwrap();
    ca
}

/// Whether a client that trusts only this CA gets a connection.
async fn trusted(gateway: &Gateway, ca: &Path) -> bool {
    tls(gateway.addr, ca, "localhost", b"http/1.1")
        .await
        .is_ok()
}

async fn until_trusted(gateway: &Gateway, ca: &Path) {
    let end = Instant::now() + DEADLINE;
    while !trusted(gateway, ca).await {
        assert!(
            Instant::now() < end,
            "the new certificate is not served\n{}",
            gateway.tail()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_certificate_is_served_and_a_bad_one_is_not() {
    let dir = temp_dir("tls");
    let first = issue(&dir);
    let gateway = Gateway::start_with(|config| {
        let (cert, key) = (dir.join("tls.crt"), dir.join("tls.key"));
        config["tls"] = json!({"cert_file": cert, "key_file": key, "ca_file": first});
    });
    let origin = Origin::echo().await;
    assert!(trusted(&gateway, &first).await);
    let open = tls(gateway.addr, &first, "localhost", b"http/1.1")
        .await
        .unwrap();

    let second = issue(&dir);
    until_trusted(&gateway, &second).await;
    assert!(
        !trusted(&gateway, &first).await,
        "new connections see the new certificate only"
    );

    fs::write(dir.join("tls.crt"), "no certificate").unwrap();
    until("the log to name the bad file", || {
        let log = gateway.process.output();
        let found = log
            .lines()
            .any(|line| line.contains("ERROR") && line.contains("tls.crt"));
        if found {
            Ok(())
        } else {
            Err(gateway.tail().to_string())
        }
    })
    .await;
    assert!(
        trusted(&gateway, &second).await,
        "a bad file leaves the old certificate"
    );

    // A certificate that does not go with the key.
    let third = issue(&dir);
    until_trusted(&gateway, &third).await;
    let lone = KeyPair::generate().unwrap();
    fs::write(dir.join("tls.key"), lone.serialize_pem()).unwrap();
    tokio::time::sleep(Duration::from_secs(12)).await; // longer than it takes to look twice
    assert!(
        trusted(&gateway, &third).await,
        "a key of another certificate leaves the old pair"
    );

    let fourth = issue(&dir);
    until_trusted(&gateway, &fourth).await;
    drop(open);
    drop(origin);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_from_before_live_on_with_the_old_certificate() {
    let dir = temp_dir("tls");
    let ca = issue(&dir);
    let gateway = Gateway::start_with(|config| {
        let (cert, key) = (dir.join("tls.crt"), dir.join("tls.key"));
        config["tls"] = json!({"cert_file": cert, "key_file": key, "ca_file": ca});
    });
    // Where clients and agents of the tests look for it.
    fs::copy(&ca, gateway.ca()).unwrap();
    let origin = Origin::echo().await;
    let tunnel = Tunnel::own(gateway, &[demo(&origin)]);
    let mut client = tunnel.connect(Form::Host).await;
    assert_eq!(
        client.ask(tunnel.post("/", "before")).await.text(),
        "before"
    );
    let second = issue(&dir);
    until_trusted(&tunnel.gateway, &second).await;
    assert_eq!(
        client.ask(tunnel.post("/", "after")).await.text(),
        "after",
        "by an old connection"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn old_protocols_are_refused() {
    let gateway = crate::fixture::shared_gateway();
    // rustls has no older one; this is a ClientHello of TLS 1.0, as OpenSSL writes it.
    let mut hello = vec![0x16, 3, 1, 0, 0x2d, 1, 0, 0, 0x29, 3, 1];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    let stream = tokio::net::TcpStream::connect(gateway.addr).await.unwrap();
    let mut wire = crate::wire::Wire::new(stream);
    wire.send(&hello).await;
    let answer = wire.closed().await;
    assert!(
        answer.is_empty() || answer[0] == 0x15,
        "an alert and no handshake: {answer:?}"
    );
}
