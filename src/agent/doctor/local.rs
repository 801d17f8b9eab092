//! The agent that runs on this machine, by its own probes and metrics.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::report::Finding;
use crate::agent::config::AgentConfig;
use crate::agent::dial::read_secret;
use crate::config::Listen;

/// Bytes of one answer that are read: metrics of many forwards fit.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// An answer of the agent's.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// Where a listener of an agent on this machine is reached.
fn reachable(listen: Listen) -> Option<SocketAddr> {
    let address = listen.candidates().into_iter().next_back()?;
    let loopback = match address {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
    };
    let ip = Some(address.ip()).filter(|ip| !ip.is_unspecified());
    let ip = ip.unwrap_or(loopback);
    Some(SocketAddr::new(ip, address.port()))
}

/// Whether the agent on this machine is ready, if there is one.
pub(super) async fn check(config: &AgentConfig, limit: Duration) -> Finding {
    let place = reachable(config.admin.listen)
        .map(|address| address.to_string())
        .unwrap_or_default();
    match get(config.admin.listen, "/readyz", None, limit).await {
        Err(_) => Finding::skipped("agent", &place, "no agent answers on this machine"),
        Ok(answer) if answer.status == StatusCode::OK => {
            Finding::ok("agent", &place, "it runs and is ready")
        }
        Ok(answer) if answer.status == StatusCode::SERVICE_UNAVAILABLE => {
            let details = format!("it runs and is not ready{}", failing(&answer.body));
            let action = "the checks above may say why; its log does";
            Finding::failed("agent", &place, details, action)
        }
        Ok(answer) => {
            let details = format!("something answers {} to /readyz", answer.status.as_u16());
            Finding::warning(
                "agent",
                &place,
                details,
                "check admin.listen: another program may have that port",
            )
        }
    }
}

/// The checks of `/readyz` that do not pass.
fn failing(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let checks = body.get("checks").and_then(Value::as_object);
    let failing: Vec<_> = checks
        .into_iter()
        .flatten()
        .filter(|(_, state)| *state != "ok")
        .map(|(name, state)| match state.as_str() {
            Some(state) => format!("{name}: {state}"),
            None => format!("{name}: {state}"),
        })
        .collect();
    if failing.is_empty() {
        String::new()
    } else {
        format!(" ({})", failing.join("; "))
    }
}

/// Everything that the agent on this machine says of itself, by the name of the file for it.
pub(super) async fn everything(
    config: &AgentConfig,
    limit: Duration,
) -> Vec<(&'static str, Answer)> {
    let token = admin_token(config);
    let metrics = config.monitoring.prometheus.listen;
    let mut all = Vec::new();
    for (file, listen, path) in [
        ("readyz.json", config.admin.listen, "/readyz"),
        ("livez.json", config.admin.listen, "/livez"),
        ("info.json", config.admin.listen, "/info"),
        ("metrics.txt", metrics, "/metrics"),
    ] {
        if let Ok(answer) = get(listen, path, token.as_deref(), limit).await {
            all.push((file, answer));
        }
    }
    all
}

fn admin_token(config: &AgentConfig) -> Option<String> {
    let file = || read_secret(config.admin.token_file.as_deref()?).ok();
    match &config.admin.token {
        Some(token) => Some(token.expose().to_owned()),
        None => file().map(|token| token.expose_secret().to_owned()),
    }
}

async fn get(
    listen: Listen,
    path: &str,
    token: Option<&str>,
    limit: Duration,
) -> Result<Answer, String> {
    let address = reachable(listen).ok_or("no address")?;
    let asked = ask(address, path, token);
    timeout(limit, asked)
        .await
        .map_err(|_| "no answer in time".to_owned())?
}

async fn ask(address: SocketAddr, path: &str, token: Option<&str>) -> Result<Answer, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| text(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| text(&error))?;
    spawn_local(connection);
    let mut request = Request::get(path).header(header::HOST, address.to_string());
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| text(&error))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| text(&error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_BODY);
    let body = body.collect().await.map_err(|error| text(&error))?;
    Ok(Answer {
        status,
        body: body.to_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_reached_by_loopback() {
        for (listen, reached) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("10.0.0.7:8080", "10.0.0.7:8080"),
        ] {
            let address = reachable(listen.parse().unwrap()).unwrap();
            assert_eq!(address.to_string(), reached);
        }
    }

    #[test]
    fn the_checks_that_fail_are_named() {
        let body = br#"{"status":"not ready","checks":{"tunnel":"no carrier","kubernetes":"ok"}}"#;
        assert_eq!(failing(body), " (tunnel: no carrier)");
        assert_eq!(failing(b"<html>"), "");
    }
}
