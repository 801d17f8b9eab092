//! The proxy on the way to the gateway, if there is one: which, and the tunnel through it by HTTP
//! CONNECT (RFC 9110, section 9.3.6).

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::{DialError, Transport, client_config, secure};
use crate::agent::config::ProxyConfig;
use crate::config::Period;

/// The variables that name a proxy for HTTPS, in the order in which curl looks.
pub(in crate::agent) const VARIABLES: [&str; 4] =
    ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// The variables that say for whom no proxy is used, in that order.
const EXCEPTIONS: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// The key that names a proxy before any variable.
const KEY: &str = "pipeops.proxy.url";

/// Bytes of a proxy's answer, headers included; what a page that follows has is not read.
const MAX_ANSWER: usize = 16 * 1024;

/// Whether a proxy leads to the gateway.
#[derive(Debug, Clone)]
pub(in crate::agent) enum Route {
    /// None is named.
    Direct,
    /// The key or variable of this name names one, and the gateway is left out of it.
    Excepted(&'static str),
    /// This one.
    Proxied(Proxy),
}

/// A proxy, and how it is used. Shows nothing of a password.
#[derive(Clone)]
pub(in crate::agent) struct Proxy {
    /// What named it: a key, or a variable.
    pub(in crate::agent) named_by: &'static str,
    pub(in crate::agent) host: String,
    pub(in crate::agent) port: u16,
    auth: Option<HeaderValue>,
    /// The name in its certificate, where it speaks TLS.
    name: Option<ServerName<'static>>,
    /// Read for each connection, so that it can be replaced.
    ca_file: Option<PathBuf>,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.name.is_some() { "https" } else { "http" };
        let place = super::place(&self.host, self.port);
        write!(f, "{scheme}://{place}")
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({})", self.named_by)
    }
}

impl Route {
    /// The way to `https://{place}`: what the configuration says, else what `variable` says.
    ///
    /// # Errors
    /// [`DialError::Local`] for a URL that is of no use.
    pub(in crate::agent) fn find(
        config: &ProxyConfig,
        place: &str,
        port: u16,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, DialError> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let from_key = config
            .url
            .as_ref()
            .map(|url| (KEY, url.expose().to_owned()));
        let named = from_key.or_else(|| {
            let mut names = VARIABLES.into_iter();
            names.find_map(|name| Some((name, set(name)?)))
        });
        let Some((named_by, url)) = named else {
            return Ok(Self::Direct);
        };
        let local = |why: &str| DialError::Local(format!("{named_by}: {why}"));
        let target: Uri = format!("https://{place}")
            .parse()
            .map_err(|_| local("the gateway's address is none"))?;
        // Whether it is a proxy at all comes first: a typing error must not mean "directly".
        let Some(found) = Matcher::builder().https(&url).build().intercept(&target) else {
            return Err(local(
                "is no URL of a proxy, http://host:port or https://host:port",
            ));
        };
        let exceptions = config.no_proxy.clone();
        let exceptions = exceptions.or_else(|| EXCEPTIONS.into_iter().find_map(set));
        let exceptions = entries_for(&exceptions.unwrap_or_default(), port);
        let matcher = Matcher::builder().https(url).no(exceptions).build();
        if matcher.intercept(&target).is_none() {
            return Ok(Self::Excepted(named_by));
        }
        Proxy::new(config, named_by, &found).map(Self::Proxied)
    }
}

/// Those entries of a `NO_PROXY` list that are about this port, in the form that the matcher knows:
/// without the port, and without the star of `*.example.com`.
fn entries_for(list: &str, port: u16) -> String {
    let entries = list.split([',', ' ', '\t', '\n']).filter_map(|entry| {
        let host = match entry.rsplit_once(':') {
            // More colons are those of an IPv6 address without a port.
            Some((host, of)) if !host.contains(':') || host.ends_with(']') => {
                (of.parse() == Ok(port)).then_some(host)?
            }
            _ => entry,
        };
        let host = host.trim_matches(['[', ']']);
        Some(
            host.strip_prefix('*')
                .filter(|rest| !rest.is_empty())
                .unwrap_or(host),
        )
    });
    entries.collect::<Vec<_>>().join(",")
}

impl Proxy {
    fn new(
        config: &ProxyConfig,
        named_by: &'static str,
        found: &Intercept,
    ) -> Result<Self, DialError> {
        let local = |why: String| DialError::Local(format!("{named_by}: {why}"));
        let uri = found.uri();
        let host = uri
            .host()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned();
        if host.is_empty() {
            return Err(local("names no host".to_owned()));
        }
        let (name, port) = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => (None, 80),
            Some(scheme) if *scheme == Scheme::HTTPS => {
                let name =
                    ServerName::try_from(host.clone()).map_err(|error| local(error.to_string()))?;
                (Some(name), 443)
            }
            _ => {
                return Err(local(
                    "only proxies for HTTP are used, http:// or https://".to_owned(),
                ));
            }
        };
        Ok(Self {
            named_by,
            port: uri.port_u16().unwrap_or(port),
            auth: found.basic_auth().cloned(),
            name,
            ca_file: config.ca_file.clone(),
            host,
        })
    }

    /// Makes of a connection to the proxy one to the gateway at `place`; each step has `limit`.
    ///
    /// # Errors
    /// [`DialError`], which says whether the proxy is to blame or what is behind it.
    pub(super) async fn lead(
        &self,
        stream: TcpStream,
        place: &str,
        limit: Duration,
    ) -> Result<Transport, DialError> {
        let asked = async {
            let Some(name) = self.name.clone() else {
                return Ok(Transport::Tcp(self.connect(stream, place).await?));
            };
            let tls = Arc::new(client_config(self.ca_file.as_deref(), &[b"http/1.1"])?);
            let whom = format!("the proxy {self}");
            let secured = secure(stream, name, tls, &whom).await;
            if let Err(DialError::Certificate(why)) = &secured {
                return Err(DialError::Proxy(format!(
                    "the certificate of the proxy {self} is not trusted: {why}; set pipeops.proxy.ca_file to its CA"
                )));
            }
            let stream = secured?;
            Ok(Transport::Tls(Box::new(self.connect(stream, place).await?)))
        };
        timeout(limit, asked).await.unwrap_or_else(|_| {
            let limit = Period(limit);
            Err(DialError::Unreachable(format!(
                "the proxy {self} does not lead to {place} within {limit}"
            )))
        })
    }

    /// Asks for the tunnel.
    async fn connect<T>(&self, io: T, place: &str) -> Result<T, DialError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broken = |error: &dyn fmt::Display| {
            DialError::Unreachable(format!(
                "the proxy {self} does not answer as a proxy does: {error}"
            ))
        };
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_ANSWER)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|error| broken(&error))?;
        spawn_local(connection.with_upgrades());
        let mut request = Request::connect(place).header(header::HOST, place);
        if let Some(auth) = &self.auth {
            request = request.header(header::PROXY_AUTHORIZATION, auth);
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| broken(&error))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| broken(&error))?;
        self.judge(&response, place)?;
        let upgraded = hyper::upgrade::on(response)
            .await
            .map_err(|error| broken(&error))?;
        let parts = upgraded
            .downcast::<TokioIo<T>>()
            .map_err(|_| broken(&"it is lost"))?;
        if parts.read_buf.is_empty() {
            Ok(parts.io.into_inner())
        } else {
            Err(broken(&"it speaks before the gateway is spoken to"))
        }
    }

    /// What the proxy's answer means, and who has to act.
    fn judge(&self, response: &Response<Incoming>, place: &str) -> Result<(), DialError> {
        let status = response.status();
        let refused = |why: String| Err(DialError::Proxy(format!("the proxy {self} {why}")));
        // tinyproxy answers 401 to a wrong password.
        let unknown = [
            StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            StatusCode::UNAUTHORIZED,
        ]
        .contains(&status);
        match status {
            _ if status.is_success() => Ok(()),
            _ if unknown && self.auth.is_some() => refused(format!(
                "does not accept the user and password in its URL ({status}); correct {}",
                self.named_by
            )),
            _ if unknown => refused(format!(
                "wants a user and a password ({status}); put them into {} as http://user:password@host:port",
                self.named_by
            )),
            _ if status.is_client_error() => refused(format!(
                "does not let this agent reach {place} ({status}); have CONNECT to it allowed, or name the gateway in NO_PROXY"
            )),
            _ if status.is_server_error() => Err(DialError::Unreachable(format!(
                "the proxy {self} can not reach {place} ({status}); check that the gateway runs and the proxy may go out to it"
            ))),
            _ => Err(DialError::Unreachable(format!(
                "the proxy {self} answers {status} to CONNECT {place}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests;
