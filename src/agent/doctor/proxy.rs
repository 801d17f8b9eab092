//! The proxy on the way to the gateway, if there is one.

use std::env;
use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::network::millis;
use super::report::Finding;
use crate::agent::dial::{DialError, Dialer, Proxy, Route, VARIABLES};

/// All proxies that the environment names, whatever they are for.
pub(super) fn urls() -> Vec<String> {
    VARIABLES
        .into_iter()
        .chain(["http_proxy", "HTTP_PROXY"])
        .filter_map(|name| env::var(name).ok().filter(|value| !value.is_empty()))
        .collect()
}

/// Whether the gateway is reached by a proxy, and whether that leads there; `address` is where the
/// first connection leads. The second is whether the way is open.
pub(super) async fn check(dialer: &Dialer, address: Option<SocketAddr>) -> (Finding, bool) {
    let place = dialer.place();
    let direct = |details: &str| (Finding::ok("proxy", &place, details), address.is_some());
    match (&dialer.route, address) {
        (Route::Direct, _) => direct("no proxy is set"),
        (Route::Excepted(by), _) => {
            direct(&format!("{by} is set, and NO_PROXY leaves the gateway out"))
        }
        (Route::Proxied(_), None) => (Finding::skipped("proxy", &place, "needs tcp"), false),
        (Route::Proxied(proxy), Some(address)) => lead(dialer, proxy, address).await,
    }
}

async fn lead(dialer: &Dialer, proxy: &Proxy, address: SocketAddr) -> (Finding, bool) {
    let place = dialer.place();
    let start = Instant::now();
    let connected = timeout(dialer.timeout(), TcpStream::connect(address)).await;
    let led = match connected {
        Ok(Ok(stream)) => dialer.lead(stream).await.map(drop),
        Ok(Err(error)) => Err(DialError::Unreachable(error.to_string())),
        Err(_) => Err(DialError::Unreachable("no answer".to_owned())),
    };
    let by = proxy.named_by;
    match led {
        Ok(()) => {
            let took = millis(start.elapsed());
            let details = format!("{proxy} ({by}) leads to it in {took}");
            (Finding::ok("proxy", &place, details), true)
        }
        Err(error) => {
            let action = "ask who runs the proxy whether it may reach the gateway; where the gateway can be reached without \
                it, name the gateway in NO_PROXY or pipeops.proxy.no_proxy";
            let details = format!("{error}; {by} names it");
            (Finding::failed("proxy", &place, details, action), false)
        }
    }
}
