//! A cluster with an agent and targets for each test, and clients of it.

use crate::{
    common::{
        agent::{Agent, AgentConfig},
        gateway::{DOMAIN, Gateway},
    },
    origin::Origin,
    wire::{Answer, DEADLINE, Wire, within},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// The client's end of a connection to the gateway.
pub type Client = Wire<TlsStream<TcpStream>>;

/// How a cluster is addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `https://tunnel-ID.DOMAIN/SERVICE`
    Host,
    /// `https://GATEWAY/v1/clusters/NAME/tunnel/SERVICE`
    Path,
}

pub const FORMS: [Form; 2] = [Form::Host, Form::Path];

/// The gateway of all tests that leave it alone.
pub fn shared_gateway() -> &'static Gateway {
    static GATEWAY: OnceLock<Gateway> = OnceLock::new();
    GATEWAY.get_or_init(Gateway::start)
}

/// A gateway that is shared or a test's own.
#[derive(Debug)]
pub enum GatewayOf {
    All(&'static Gateway),
    Test(Box<Gateway>),
}

impl std::ops::Deref for GatewayOf {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        match self {
            Self::All(gateway) => gateway,
            Self::Test(gateway) => gateway,
        }
    }
}

/// A new cluster that agents may connect for.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub name: String,
    pub id: String,
}

impl Cluster {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            name: format!("c{n}"),
            id: format!("cls-{n}"),
        }
    }

    /// The host of its own.
    pub fn host(&self) -> String {
        format!("tunnel-{}.{DOMAIN}", self.id)
    }
}

/// A gateway, a connected agent with a service `demo`, and a user who may use it.
#[derive(Debug)]
pub struct Tunnel {
    pub cluster: Cluster,
    pub gateway: GatewayOf,
    pub agent: Agent,
    /// A token for this cluster's `demo`.
    pub token: String,
    /// Its subject.
    pub subject: String,
}

impl Drop for Tunnel {
    #[expect(
        clippy::print_stderr,
        reason = "a failed test shows what both programs said"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.gateway.process.output();
            let id = format!("\"{}\"", self.cluster.id);
            let mine = |line: &&str| line.contains(&id) || !line.contains("\"INFO\"");
            let lines: Vec<_> = log.lines().filter(mine).collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            eprintln!(
                "--- gateway, last lines about {id} ---\n{}\n{}",
                last.join("\n"),
                self.agent.tail()
            );
        }
    }
}

/// The service `demo` at this target.
pub fn demo(origin: &Origin) -> Value {
    json!({"name": "demo", "local_addr": origin.addr.to_string(), "protocol": "http"})
}

impl Tunnel {
    /// To this target, by the shared gateway.
    pub fn to(origin: &Origin) -> Self {
        Self::with(&[demo(origin)])
    }

    /// With these services, by the shared gateway.
    pub fn with(forwards: &[Value]) -> Self {
        Self::by(GatewayOf::All(shared_gateway()), forwards)
    }

    /// With these services, by a gateway of the test's own.
    pub fn own(gateway: Gateway, forwards: &[Value]) -> Self {
        Self::by(GatewayOf::Test(Box::new(gateway)), forwards)
    }

    /// With these services, for this cluster, by a gateway of the test's own.
    pub fn of(cluster: Cluster, gateway: Gateway, forwards: &[Value]) -> Self {
        Self::with_cluster(
            cluster,
            GatewayOf::Test(Box::new(gateway)),
            forwards,
            |agent| agent,
        )
    }

    fn by(gateway: GatewayOf, forwards: &[Value]) -> Self {
        Self::having(gateway, forwards, |agent| agent)
    }

    /// With these services and an agent that is changed.
    pub fn having(
        gateway: GatewayOf,
        forwards: &[Value],
        change: impl FnOnce(AgentConfig) -> AgentConfig,
    ) -> Self {
        Self::with_cluster(Cluster::new(), gateway, forwards, change)
    }

    fn with_cluster(
        cluster: Cluster,
        gateway: GatewayOf,
        forwards: &[Value],
        change: impl FnOnce(AgentConfig) -> AgentConfig,
    ) -> Self {
        let agent = change(agent(&gateway, &cluster, forwards)).start();
        let subject = format!("{}@example.com", cluster.name);
        let token = gateway.user_token(&subject, "viewer", &cluster.name, "tunnel:demo");
        Self {
            cluster,
            gateway,
            agent,
            token,
            subject,
        }
    }

    /// The gateway, where it is the test's own.
    pub fn own_gateway(&mut self) -> &mut Gateway {
        match &mut self.gateway {
            GatewayOf::Test(gateway) => gateway,
            GatewayOf::All(_) => panic!("the shared gateway is not this test's"),
        }
    }

    /// The host that a form addresses, without the port.
    pub fn hostname(&self, form: Form) -> String {
        match form {
            Form::Host => self.cluster.host(),
            Form::Path => "localhost".to_owned(),
        }
    }

    /// The `Host` header of a form.
    pub fn host(&self, form: Form) -> String {
        format!("{}:{}", self.hostname(form), self.gateway.addr.port())
    }

    /// What stands before the path that the service sees.
    pub fn prefix(&self, form: Form) -> String {
        match form {
            Form::Host => "/demo".to_owned(),
            Form::Path => format!("/v1/clusters/{}/tunnel/demo", self.cluster.name),
        }
    }

    /// The head of a request to the service; `more` are whole header lines.
    pub fn head(&self, form: Form, method: &str, rest: &str, more: &str) -> String {
        let (prefix, host, token) = (self.prefix(form), self.host(form), &self.token);
        format!(
            "{method} {prefix}{rest} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
        )
    }

    /// The head of a GET by the host form.
    pub fn get(&self, rest: &str) -> String {
        self.head(Form::Host, "GET", rest, "")
    }

    /// A POST by the host form with this body.
    pub fn post(&self, rest: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
        let length = format!("Content-Length: {}\r\n", body.as_ref().len());
        let head = self.head(Form::Host, "POST", rest, &length);
        [head.as_bytes(), body.as_ref()].concat()
    }

    /// An HTTP/1.1 connection.
    pub async fn connect(&self, form: Form) -> Client {
        connect(&self.gateway, &self.hostname(form)).await
    }

    /// A connection and the one answer to this request.
    pub async fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        self.connect(Form::Host).await.ask(request).await
    }

    /// Asks until the answer has this status, or fails with the last one.
    pub async fn ask_until(&self, request: &str, status: u16) -> Answer {
        let end = Instant::now() + DEADLINE;
        loop {
            let answer = self.ask(request).await;
            if answer.status() == status {
                return answer;
            }
            let last = answer.text();
            assert!(Instant::now() < end, "still {}: {last}", answer.head.first);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// An agent of a cluster with these services, not yet started.
pub fn agent(gateway: &Gateway, cluster: &Cluster, forwards: &[Value]) -> AgentConfig {
    let config = AgentConfig::new(gateway, &cluster.name, &cluster.id);
    forwards.iter().cloned().fold(config, AgentConfig::forward)
}

/// An HTTP/1.1 connection to the gateway, made for this host name.
pub async fn connect(gateway: &Gateway, name: &str) -> Client {
    let tls = tls(gateway.addr, &gateway.ca(), name, b"http/1.1").await;
    Wire::new(tls.expect("a TLS handshake"))
}

/// A TLS connection for this name and protocol; an IP address as a name sends no SNI.
pub async fn tls(
    addr: SocketAddr,
    ca: &Path,
    name: &str,
    alpn: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for cert in CertificateDer::pem_file_iter(ca).unwrap() {
        roots.add(cert.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = within("a TCP connection", TcpStream::connect(addr)).await?;
    stream.set_nodelay(true)?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    within("a TLS handshake", handshake).await
}

/// Waits until `probe` answers, or fails with what it says is the case instead.
pub async fn until<T>(what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        match probe() {
            Ok(value) => return value,
            Err(last) => assert!(
                Instant::now() < end,
                "waited {DEADLINE:?} in vain for {what}: {last}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How many sockets this process has open that lead to `to`.
pub fn sockets_to(pid: u32, to: SocketAddr) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{:04X}", to.port());
    let inodes = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[2]
            .ends_with(&port)
            .then(|| format!("socket:[{}]", fields[9]))
    });
    let inodes: Vec<_> = inodes.collect();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    links
        .filter(|link| {
            inodes
                .iter()
                .any(|inode| link.as_os_str() == inode.as_str())
        })
        .count()
}
