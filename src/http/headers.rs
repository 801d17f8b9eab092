//! Which headers pass the tunnel, in both directions.
//!
//! The gateway cleans what it takes from users before it adds anything, and what it takes from
//! clusters before it answers; the agent cleans requests again before it adds a target's
//! credentials. All of it works on the map in place, is idempotent, and allocates only for what it
//! removes or rewrites.

mod bearer;
mod cookie;
mod names;
mod proxy;
mod request;
mod response;

pub use bearer::bearer;
pub use proxy::take_proxy_authorization;
pub use request::{forwarded, sanitize_request, strip_for_target, upgrade_protocol};
pub use response::{ResponseContext, sanitize_response, sanitize_trailers};

use http::header::{AsHeaderName, CONNECTION, HeaderMap, HeaderName, HeaderValue, UPGRADE};

/// The elements of a comma-separated header, over all its lines, without whitespace and without
/// empty ones (RFC 9110 section 5.6.1). Not for headers with quoted strings.
fn elements(headers: &HeaderMap, name: impl AsHeaderName) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(name).into_iter();
    lines
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Removes what `Connection` nominates, except for what decides framing and routing, and every
/// header that `doomed` says.
///
/// RFC 9110 section 7.6.1 has an intermediary remove nominated headers and a sender not nominate
/// end-to-end ones. `Content-Length` and `Host` taken away by nomination would let a sender change
/// where the message ends or goes.
fn remove(headers: &mut HeaderMap, doomed: impl Fn(&str) -> bool) {
    let mut names: Vec<HeaderName> = elements(headers, CONNECTION)
        .filter_map(|element| HeaderName::from_bytes(element).ok())
        .filter(|name| headers.contains_key(name) && !names::is_never_nominated(name.as_str()))
        .collect();
    names.extend(headers.keys().filter(|name| doomed(name.as_str())).cloned());
    for name in names {
        headers.remove(name);
    }
}

/// Puts back the two hop-by-hop headers that ask for or confirm a switch of protocols.
fn set_upgrade(headers: &mut HeaderMap, protocol: Option<&str>) {
    if let Some(Ok(protocol)) = protocol.map(HeaderValue::from_str) {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

#[cfg(test)]
mod tests;
