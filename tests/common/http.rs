//! A raw HTTP/1.1 client over TLS, for what kubectl is too heavy for.

use super::DEADLINE;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use std::{net::SocketAddr, path::PathBuf, sync::Arc};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

/// A Kubernetes API at one address, as one user.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where to connect, whatever the name resolves to.
    pub addr: SocketAddr,
    /// Name for TLS and the Host header.
    pub host: String,
    /// What stands before `/api` in a path.
    pub base: String,
    pub ca: PathBuf,
    /// Sent with every request: authorization and the like.
    pub headers: Vec<(String, String)>,
}

/// One connection, one request at a time.
#[derive(Debug)]
pub struct Connection {
    target: Target,
    send: http1::SendRequest<Full<Bytes>>,
}

impl Target {
    pub async fn connect(&self) -> Connection {
        let mut roots = RootCertStore::empty();
        for cert in CertificateDer::pem_file_iter(&self.ca).unwrap() {
            roots.add(cert.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(self.host.clone()).unwrap();
        let tcp = timeout(DEADLINE, TcpStream::connect(self.addr))
            .await
            .expect("a connection")
            .unwrap();
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        let tls = timeout(DEADLINE, tls)
            .await
            .expect("a TLS handshake")
            .unwrap();
        let (send, connection) = http1::handshake(TokioIo::new(tls)).await.unwrap();
        tokio::spawn(async move { drop(connection.await) }); // requests report its errors
        Connection {
            target: self.clone(),
            send,
        }
    }
}

impl Connection {
    /// Sends a request and answers once the response's head is there.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Response<Incoming> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.target.base));
        request = request.header(
            header::HOST,
            format!("{}:{}", self.target.host, self.target.addr.port()),
        );
        request = request.header(header::CONTENT_TYPE, "application/json");
        for (name, value) in &self.target.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        timeout(DEADLINE, self.send.ready())
            .await
            .expect("a free connection")
            .unwrap();
        timeout(DEADLINE, self.send.send_request(request))
            .await
            .expect("a response")
            .unwrap()
    }

    /// [`Self::send`], and the whole body.
    pub async fn whole(
        &mut self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> (StatusCode, Bytes) {
        let response = self.send(method, path, body).await;
        let status = response.status();
        let body = timeout(DEADLINE, response.into_body().collect())
            .await
            .expect("a whole body")
            .unwrap();
        (status, body.to_bytes())
    }

    /// Gets JSON that must be there.
    pub async fn get(&mut self, path: &str) -> Value {
        let (status, body) = self.whole(Method::GET, path, "").await;
        assert!(
            status.is_success(),
            "GET {path}: {status}: {}",
            String::from_utf8_lossy(&body)
        );
        serde_json::from_slice(&body).unwrap()
    }
}

/// Reads lines of a body as they come.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    read: Vec<u8>,
}

impl Lines {
    pub fn new(response: Response<Incoming>) -> Self {
        Self {
            body: response.into_body(),
            read: Vec::new(),
        }
    }

    /// The next line, or `None` at the body's end.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.iter().position(|b| *b == b'\n') {
                let line = self.read.drain(..=end).collect();
                return Some(String::from_utf8(line).unwrap());
            }
            let frame = timeout(DEADLINE, self.body.frame())
                .await
                .expect("more of a stream")?;
            if let Ok(data) = frame.unwrap().into_data() {
                self.read.extend_from_slice(&data);
            }
        }
    }
}
