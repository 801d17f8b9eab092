//! A QUIC client of the tests' own.

use crate::common::gateway::Gateway;
use pipeops_tunnel::wire::quic::ticket_id;
use quinn::{
    ClientConfig, Connecting, Connection, ConnectionId, Endpoint, crypto::rustls::QuicClientConfig,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{net::SocketAddr, sync::Arc};

/// What an agent with this ticket would begin with.
fn config(gateway: &Gateway, ticket: &str, alpn: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for cert in CertificateDer::pem_file_iter(gateway.ca()).unwrap() {
        roots.add(cert.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.to_vec()];
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let id = ConnectionId::new(&ticket_id(ticket));
    config.initial_dst_cid_provider(Arc::new(move || id));
    config
}

/// Begins a connection by a ticket, to the gateway or to what stands for it.
pub fn begin(gateway: &Gateway, to: SocketAddr, ticket: &str, alpn: &[u8]) -> Connecting {
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint
        .connect_with(config(gateway, ticket, alpn), to, "localhost")
        .unwrap()
}

/// Shows this as the ticket; the gateway's answer, or why there is none.
pub async fn show(connection: &Connection, ticket: &[u8]) -> Result<Vec<u8>, String> {
    let (mut stream, mut answer) = connection.open_bi().await.map_err(|e| e.to_string())?;
    stream.write_all(ticket).await.map_err(|e| e.to_string())?;
    stream.finish().unwrap();
    answer.read_to_end(16).await.map_err(|_| {
        let reason = connection.close_reason();
        reason.map_or_else(|| "no answer".to_owned(), |reason| reason.to_string())
    })
}
