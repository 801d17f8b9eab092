//! The way to the gateway: its name or its proxy's, TCP, TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use rustls::ProtocolVersion;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;

use super::certificate::Certificate;
use super::clock::Reading;
use super::report::Finding;
use crate::agent::dial::{DialError, Dialer, Transport, place};
use crate::agent::target::accept_any;
use crate::config::Period;

/// Addresses of a name that are tried; more are those of somebody else's load balancer.
const MAX_ADDRESSES: usize = 8;

/// A certificate that ends sooner is worth a warning: longer than a holiday.
const SOON: i64 = 14;

/// The name that is connected to: the gateway's, or the proxy's.
pub(super) async fn dns(dialer: &Dialer) -> (Finding, Option<Vec<SocketAddr>>) {
    let ((host, port), limit) = (dialer.hop(), dialer.timeout());
    if let Ok(ip) = host.parse() {
        let found = Finding::ok("dns", host, "is an address, no name");
        return (found, Some(vec![SocketAddr::new(ip, port)]));
    }
    let failed = |why: String| {
        let action = "check pipeops.api_url or the proxy's URL, and the name servers of this machine or pod (/etc/resolv.conf)";
        (Finding::failed("dns", host, why, action), None)
    };
    let mut addresses: Vec<_> = match timeout(limit, lookup_host((host, port))).await {
        Ok(Ok(addresses)) => addresses.take(MAX_ADDRESSES).collect(),
        Ok(Err(error)) => return failed(error.to_string()),
        Err(_) => return failed(format!("no answer within {}", Period(limit))),
    };
    addresses.dedup();
    if addresses.is_empty() {
        return failed("the name has no address".to_owned());
    }
    let list: Vec<_> = addresses
        .iter()
        .map(|address| address.ip().to_string())
        .collect();
    (Finding::ok("dns", host, list.join(" ")), Some(addresses))
}

/// Each address; the one that answered first is worth going on with.
pub(super) async fn tcp(
    dialer: &Dialer,
    addresses: &[SocketAddr],
) -> (Finding, Option<SocketAddr>) {
    let limit = dialer.timeout();
    let attempts = addresses.iter().map(async |&address| {
        let start = Instant::now();
        match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(_)) => Ok((start.elapsed(), address)),
            Ok(Err(error)) => Err(format!("{address}: {error}")),
            Err(_) => Err(format!("{address}: no answer within {}", Period(limit))),
        }
    });
    let (mut reached, mut failures) = (Vec::new(), Vec::new());
    for outcome in join_all(attempts).await {
        match outcome {
            Ok(good) => reached.push(good),
            Err(why) => failures.push(why),
        }
    }
    let (host, port) = dialer.hop();
    let place = place(host, port);
    let why = failures.join("; ");
    let Some(&(took, address)) = reached.iter().min() else {
        let action = "check that it runs, and the port in pipeops.api_url or in the proxy's URL, and that firewalls and \
            NetworkPolicies let this machine or pod out to it";
        return (Finding::failed("tcp", &place, why, action), None);
    };
    let details = format!("{address} answers in {}", millis(took));
    let finding = if failures.is_empty() {
        Finding::ok("tcp", &place, details)
    } else {
        let action = "the agent tries the addresses of the name in turn: take those out that nobody answers at";
        Finding::warning("tcp", &place, format!("{details}; {why}"), action)
    };
    (finding, Some(address))
}

/// The TLS handshake as an agent makes it, whether it is trusted, and the gateway's clock.
pub(super) async fn tls(dialer: &Dialer, address: SocketAddr) -> (Finding, bool, Option<Reading>) {
    match handshake(dialer, address, dialer.tls()).await {
        Ok(stream) => {
            let finding = judge(dialer, &stream);
            (finding, true, read_clock(dialer, stream, true).await)
        }
        Err(error) => {
            let seen = look(dialer, address).await;
            let certificate = seen.as_ref().and_then(presented);
            let finding = explain(dialer, &error, certificate.as_ref());
            let reading = match seen {
                Some(stream) => read_clock(dialer, stream, false).await,
                None => None,
            };
            (finding, false, reading)
        }
    }
}

type Stream = TlsStream<Transport>;

async fn handshake(
    dialer: &Dialer,
    address: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
) -> Result<Stream, DialError> {
    let unreachable = |why: String| DialError::Unreachable(format!("{address}: {why}"));
    let stream = timeout(dialer.timeout(), TcpStream::connect(address))
        .await
        .map_err(|_| unreachable("no answer".to_owned()))?
        .map_err(|error| unreachable(error.to_string()))?;
    let transport = dialer.lead(stream).await?;
    dialer.handshake(transport, tls).await
}

/// Connects to whoever answers, only to see their certificate. No secret is sent.
async fn look(dialer: &Dialer, address: SocketAddr) -> Option<Stream> {
    let mut tls = dialer.tls().as_ref().clone();
    accept_any(&mut tls);
    handshake(dialer, address, Arc::new(tls)).await.ok()
}

fn presented(stream: &Stream) -> Option<Certificate> {
    let chain = stream.get_ref().1.peer_certificates()?;
    Certificate::read(chain.first()?)
}

fn judge(dialer: &Dialer, stream: &Stream) -> Finding {
    let now = Timestamp::now();
    let version = match stream.get_ref().1.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    let place = dialer.place();
    let Some(certificate) = presented(stream) else {
        return Finding::ok("tls", &place, format!("{version}, trusted"));
    };
    let details = format!("{version}, trusted; {}", certificate.describe(now));
    if certificate.days_left(now) < SOON {
        let action = "renew the gateway's certificate: it is read again when its file changes";
        return Finding::warning("tls", &place, details, action);
    }
    Finding::ok("tls", &place, details)
}

/// What is wrong with a handshake, and who has to act.
fn explain(dialer: &Dialer, error: &DialError, certificate: Option<&Certificate>) -> Finding {
    let place = dialer.place();
    let failed = |details: String, action: &str| Finding::failed("tls", &place, details, action);
    let DialError::Certificate(why) = error else {
        let action = "check that a gateway listens there and not something else, and that nothing between takes TLS apart";
        return failed(error.to_string(), action);
    };
    let now = Timestamp::now();
    let Some(certificate) = certificate else {
        return failed(why.clone(), "check who answers there");
    };
    let details = format!("{why}; {}", certificate.describe(now));
    if certificate.until < now {
        failed(
            details,
            "renew the gateway's certificate; if it should be valid today, this machine's clock is wrong",
        )
    } else if certificate.from > now {
        failed(
            details,
            "it is valid from later on: set this machine's clock, or wait",
        )
    } else if why.contains("not valid for name") {
        failed(
            details,
            "use one of the certificate's names in pipeops.api_url, or add this one to the certificate",
        )
    } else {
        let action = "if that is your gateway, set pipeops.ca_file to the CA that signed its certificate; if not, \
            somebody else answers: ask who runs the network";
        failed(details, action)
    }
}

/// The time in the `Date` of an answer to a request that asks for nothing.
async fn read_clock(dialer: &Dialer, stream: Stream, trusted: bool) -> Option<Reading> {
    let asked = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        spawn_local(connection);
        let request = Request::head("/").header(header::HOST, dialer.authority());
        let request = request.body(Empty::<Bytes>::new()).ok()?;
        let start = Instant::now();
        let response = sender.send_request(request).await.ok()?;
        let arrived = Timestamp::now();
        let date = response.headers().get(header::DATE)?.to_str().ok()?;
        Some(Reading {
            theirs: rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?,
            arrived,
            round_trip: start.elapsed(),
            grain: Duration::from_secs(1),
            trusted,
        })
    };
    timeout(dialer.timeout(), asked).await.ok().flatten()
}

/// A short time in milliseconds.
pub(super) fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1_000.0)
}
