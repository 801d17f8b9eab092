//! TLS connections over loopback, tuned as the tunnel's are, and threads with a runtime each.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use pipeops_tunnel::metrics::{CarrierKind, Registry, SessionMeters, Tunnel};
use pipeops_tunnel::relay::{tune, tune_carrier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

pub type Near = client::TlsStream<TcpStream>;
pub type Far = server::TlsStream<TcpStream>;

/// A certificate for this run, and who trusts it.
pub struct Tls {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
}

impl Tls {
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let certificate = CertificateDer::from(made.cert);
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let near = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let far = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        Self {
            connector: Arc::new(near).into(),
            acceptor: Arc::new(far).into(),
        }
    }

    pub async fn connect(&self, to: SocketAddr) -> Near {
        let tcp = TcpStream::connect(to).await.unwrap();
        tuned(&tcp);
        let name = ServerName::try_from("localhost").unwrap();
        self.connector.connect(name, tcp).await.unwrap()
    }

    /// A thread that accepts `connections` of them and gives each to `serve`.
    pub fn listen<F>(&self, connections: usize, serve: F) -> SocketAddr
    where
        F: AsyncFn(Far) + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let acceptor = self.acceptor.clone();
        std::thread::spawn(move || {
            block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let serve = std::rc::Rc::new(serve);
                let mut tasks = Vec::new();
                for _ in 0..connections {
                    let (tcp, _) = listener.accept().await.unwrap();
                    tuned(&tcp);
                    let io = acceptor.accept(tcp).await.unwrap();
                    let serve = std::rc::Rc::clone(&serve);
                    tasks.push(tokio::task::spawn_local(async move { serve(io).await }));
                }
                for task in tasks {
                    // It ends when the other side has had enough.
                    drop(task.await);
                }
            });
        });
        address
    }
}

fn tuned(tcp: &TcpStream) {
    tune(tcp).unwrap();
    tune_carrier(tcp).unwrap();
}

/// Runs a future and what it spawns on a runtime of this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    LocalSet::new().block_on(&runtime.unwrap(), future)
}

/// Processor time of this process so far: both ends, user and system.
pub fn cpu() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(spent).unwrap()
}

pub fn meters() -> SessionMeters {
    let mut registry = Registry::new("bench");
    let tunnel = Tunnel::new(&mut registry, "any").unwrap();
    tunnel.session(CarrierKind::Tls)
}
