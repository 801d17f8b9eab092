//! Requests: what users may not say, and what the agent says instead.

use http::header::{
    CONNECTION, COOKIE, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue,
    SEC_WEBSOCKET_PROTOCOL, TE, UPGRADE,
};

use super::bearer::is_bearer_protocol;
use super::{elements, names, remove, set_upgrade};

/// Removes from a user's request what never reaches a cluster.
///
/// Hop-by-hop headers and what `Connection` nominates (RFC 9110 section 7.6.1), credentials,
/// everything that claims who or where the sender is, and the bearer entry of
/// `Sec-WebSocket-Protocol`. `TE: trailers` and `Trailer` stay. With `upgrade`, the value that
/// [`upgrade_protocol`] gave before, `Connection: Upgrade` and `Upgrade` are put back.
pub fn sanitize_request(headers: &mut HeaderMap, upgrade: Option<&str>) {
    let trailers = elements(headers, TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    remove(headers, names::is_dropped_from_request);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    strip_bearer_protocol(headers);
    join_cookies(headers);
    set_upgrade(headers, upgrade);
}

/// Puts the crumbs of a cookie that HTTP/2 may send apart together again (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, whole);
    }
}

/// The agent's turn: the same list again, before it adds a target's credentials, so that the
/// cluster does not depend on the gateway having done it.
pub fn strip_for_target(headers: &mut HeaderMap, upgrade: Option<&str>) {
    sanitize_request(headers, upgrade);
}

/// The protocol that a request really asks to switch to: `Connection` has the `upgrade` option and
/// there is exactly one `Upgrade` with exactly one protocol (RFC 9110 section 7.8).
///
/// Gives the protocol as it was written, such as `websocket` or `SPDY/3.1`.
pub fn upgrade_protocol(headers: &HeaderMap) -> Option<String> {
    let asked = elements(headers, CONNECTION).any(|option| option.eq_ignore_ascii_case(b"upgrade"));
    let mut values = headers.get_all(UPGRADE).iter();
    let (Some(value), None, true) = (values.next(), values.next(), asked) else {
        return None;
    };
    let protocol = value.to_str().ok()?.trim_ascii();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&byte);
    let single = !protocol.is_empty() && protocol.bytes().all(token);
    single.then(|| protocol.to_owned())
}

/// Tells a target under what address its users see it; replaces what was there.
///
/// `prefix` is the path that was taken away, `host` is `host[:port]`, `proto` is `https` or `http`.
///
/// # Errors
/// When one of them has a byte that a header cannot carry; then none is changed.
pub fn forwarded(
    headers: &mut HeaderMap,
    prefix: &str,
    host: &str,
    proto: &str,
) -> Result<(), InvalidHeaderValue> {
    let prefix = HeaderValue::from_str(prefix)?;
    let host = HeaderValue::from_str(host)?;
    let proto = HeaderValue::from_str(proto)?;
    headers.insert(HeaderName::from_static("x-forwarded-prefix"), prefix);
    headers.insert(HeaderName::from_static("x-forwarded-host"), host);
    headers.insert(HeaderName::from_static("x-forwarded-proto"), proto);
    Ok(())
}

/// Removes the entries of `Sec-WebSocket-Protocol` that carry a token, and the header with the
/// last of them; the others keep their order.
fn strip_bearer_protocol(headers: &mut HeaderMap) {
    if !elements(headers, SEC_WEBSOCKET_PROTOCOL).any(is_bearer_protocol) {
        return;
    }
    let kept: Vec<&[u8]> = elements(headers, SEC_WEBSOCKET_PROTOCOL)
        .filter(|entry| !is_bearer_protocol(entry))
        .collect();
    match HeaderValue::from_bytes(&kept.join(&b", "[..])) {
        Ok(value) if !value.is_empty() => {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
        }
        Ok(_) | Err(_) => {
            headers.remove(SEC_WEBSOCKET_PROTOCOL);
        }
    }
}
