//! Simulated agents, many in one process: real handshakes on the control channel, heartbeats and
//! pings, real carriers, and an answer of 1 KiB to each request.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue};
use http::{Request, StatusCode};
use jiff::Timestamp;
use memchr::memmem;
use pipeops_tunnel::http::exchange;
use pipeops_tunnel::metrics::{CarrierKind, Registry, Tunnel};
use pipeops_tunnel::mux::{Role, Session, Settings, Stream};
use pipeops_tunnel::wire::control::{self, Decoded, Envelope, Heartbeat, Message};
use pipeops_tunnel::wire::frame::Frame;
use pipeops_tunnel::wire::head::ResponseHead;
use pipeops_tunnel::wire::limits::{CONTROL_PING, HEARTBEAT_INTERVAL};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, join, split};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message as WsMessage;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::latency::Latency;

/// Agents that connect at the same moment.
const AT_ONCE: usize = 64;

/// One step of a handshake.
const STEP: Duration = Duration::from_secs(20);

/// Where agents connect.
#[derive(Debug)]
struct Gateway {
    addr: SocketAddr,
    authority: String,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    tunnel: Arc<Tunnel>,
    body: Bytes,
    carriers: Cell<usize>,
    connected: Cell<usize>,
    first_carrier: RefCell<Latency>,
    failure: RefCell<Option<String>>,
}

/// Agents that stay connected until this is dropped.
#[derive(Debug)]
pub(crate) struct Fleet {
    gateway: Rc<Gateway>,
    agents: JoinSet<()>,
}

impl Fleet {
    /// None yet.
    ///
    /// # Errors
    /// When the CA can not be read.
    pub(crate) fn new(host: &str, port: u16, ca: &Path) -> Result<Self> {
        let mut registry = Registry::new("loadtest");
        let gateway = Gateway {
            addr: SocketAddr::new(host.parse()?, port),
            authority: format!("{host}:{port}"),
            name: ServerName::try_from(host.to_owned())?,
            tls: super::endpoint::tls(Some(ca))?,
            tunnel: Tunnel::new(&mut registry, "services")?,
            body: Bytes::from(vec![b'.'; 1024]),
            carriers: Cell::default(),
            connected: Cell::default(),
            first_carrier: RefCell::new(Latency::new()?),
            failure: RefCell::default(),
        };
        Ok(Self {
            gateway: Rc::new(gateway),
            agents: JoinSet::new(),
        })
    }

    /// Connects an agent for each token, and waits until each has a carrier or has failed.
    pub(crate) async fn connect(&mut self, tokens: &[String], patience: Duration) {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        for token in tokens {
            let (gateway, permits, token) = (
                Rc::clone(&self.gateway),
                Arc::clone(&permits),
                token.clone(),
            );
            self.agents.spawn_local(async move {
                if let Err(error) = agent(&gateway, &permits, &token).await {
                    gateway
                        .failure
                        .borrow_mut()
                        .get_or_insert(format!("{error:#}"));
                }
            });
        }
        let end = Instant::now() + patience;
        while Instant::now() < end {
            let done = self.first_carriers().count();
            let gone = tokens.len().saturating_sub(self.agents.len()) as u64;
            if done + gone >= tokens.len() as u64 {
                return;
            }
            sleep(Duration::from_millis(10)).await;
            while self.agents.try_join_next().is_some() {}
        }
    }

    /// Agents with a control channel.
    pub(crate) fn connected(&self) -> usize {
        self.gateway.connected.get()
    }

    /// Carriers that are up.
    pub(crate) fn carriers(&self) -> usize {
        self.gateway.carriers.get()
    }

    /// From dialling the control channel to the first carrier.
    pub(crate) fn first_carriers(&self) -> Latency {
        self.gateway.first_carrier.borrow().clone()
    }

    /// What the first agent that failed said.
    pub(crate) fn failure(&self) -> Option<String> {
        self.gateway.failure.borrow().clone()
    }
}

/// One more of something, until it is dropped.
struct Held<'a>(&'a Cell<usize>);

impl<'a> Held<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

async fn agent(gateway: &Rc<Gateway>, permits: &Arc<Semaphore>, token: &str) -> Result<()> {
    let permit = permits.acquire().await?;
    let begun = Instant::now();
    let mut socket = timeout(STEP, gateway.control(token))
        .await
        .context("the gateway does not answer")??;
    let _connected = Held::new(&gateway.connected);
    let mut permit = Some(permit);
    let mut pings = interval(CONTROL_PING);
    let mut beats = interval(HEARTBEAT_INTERVAL);
    let mut carriers = JoinSet::new();
    loop {
        let message = tokio::select! {
            message = socket.next() => message.context("the gateway closed a control channel")??,
            _ = pings.tick() => { socket.send(WsMessage::Ping(Bytes::new())).await?; continue }
            _ = beats.tick() => { socket.send(heartbeat()?).await?; continue }
            Some(ended) = carriers.join_next() => { ended??; continue }
        };
        let WsMessage::Text(text) = message else {
            continue;
        };
        let Ok(Decoded::Known(envelope)) = control::decode(&text) else {
            continue;
        };
        match envelope.message {
            Message::OpenCarrier(open) => {
                let (gateway, permit) = (Rc::clone(gateway), permit.take());
                // Agents connect one after the other; each has its turn until it has a carrier.
                if permit.is_some() {
                    let tls = timeout(STEP, gateway.carrier(&open.ticket))
                        .await
                        .context("no carrier in time")??;
                    gateway.first_carrier.borrow_mut().record(begun.elapsed());
                    carriers.spawn_local(async move { gateway.run(tls).await });
                } else {
                    carriers.spawn_local(async move {
                        gateway.run(gateway.carrier(&open.ticket).await?).await
                    });
                }
            }
            Message::Error(report) => bail!("the gateway complains: {}", report.message),
            Message::Welcome(_)
            | Message::Heartbeat(_)
            | Message::CarrierFailed(_)
            | Message::Drain(_)
            | _ => {}
        }
    }
}

fn heartbeat() -> Result<WsMessage> {
    let beat = Heartbeat {
        status: "healthy".to_owned(),
        metrics: BTreeMap::new(),
        source: None,
    };
    let envelope = Envelope::new(
        "agent".to_owned(),
        Timestamp::now(),
        Message::Heartbeat(beat),
    );
    Ok(WsMessage::text(envelope.encode()?))
}

/// A carrier's connection, and what came behind its handshake.
type Switched = (TlsStream<TcpStream>, Vec<u8>);

impl Gateway {
    async fn dial(&self) -> Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.addr).await?;
        tcp.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        Ok(connector.connect(self.name.clone(), tcp).await?)
    }

    async fn control(&self, token: &str) -> Result<WebSocketStream<TlsStream<TcpStream>>> {
        let url = format!("wss://{}/v1/agent/connect", self.authority);
        let mut request: Request<()> = url.into_client_request()?;
        let bearer = HeaderValue::from_str(&format!("Bearer {token}"))?;
        request.headers_mut().insert(AUTHORIZATION, bearer);
        let (socket, _) = client_async(request, self.dial().await?).await?;
        Ok(socket)
    }

    async fn carrier(&self, ticket: &str) -> Result<Switched> {
        let mut tls = self.dial().await?;
        let head = format!(
            "GET /v1/agent/carrier HTTP/1.1\r\nHost: {}\r\nConnection: upgrade\r\nUpgrade: pipeops-mux\r\n\
             Authorization: Bearer {ticket}\r\n\r\n",
            self.authority
        );
        tls.write_all(head.as_bytes()).await?;
        let mut got = Vec::new();
        let end = loop {
            ensure!(
                tls.read_buf(&mut got).await? > 0,
                "closed instead of a carrier"
            );
            if let Some(end) = memmem::find(&got, b"\r\n\r\n") {
                break end + 4;
            }
        };
        let early = got.split_off(end);
        let status = String::from_utf8_lossy(&got);
        ensure!(
            status.starts_with("HTTP/1.1 101"),
            "no carrier: {}",
            status.lines().next().unwrap_or_default()
        );
        Ok((tls, early))
    }

    async fn run(self: &Rc<Self>, (tls, early): Switched) -> Result<()> {
        let _up = Held::new(&self.carriers);
        let (read, write) = split(tls);
        let io = join(Cursor::new(early).chain(read), write);
        let body = self.body.clone();
        let meters = self.tunnel.session(CarrierKind::Tls);
        let (_session, driver) = Session::new(
            io,
            Role::Client,
            Settings::default(),
            meters,
            move |stream| {
                spawn_local(serve(stream, body.clone()));
            },
        );
        Ok(driver.await?)
    }
}

async fn serve(stream: Stream, body: Bytes) {
    let (mut sender, mut receiver) = exchange::split(stream);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let head = Frame::Response(Box::new(ResponseHead {
        status: StatusCode::OK,
        headers,
    }));
    if sender.send(&Frame::Accept).await.is_err() {
        return;
    }
    while let Ok(Some(Frame::Request(_))) = receiver.next().await {
        let queued = sender.queue(&head);
        sender.queue_data(body.clone());
        if queued.is_err() || sender.send(&Frame::End).await.is_err() {
            return;
        }
    }
}
