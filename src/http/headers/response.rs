//! Responses: what a cluster may say under our name.

use http::header::{
    CACHE_CONTROL, CONTENT_LOCATION, CONTENT_SECURITY_POLICY, Entry, HeaderMap, HeaderName,
    HeaderValue, LOCATION, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};

use super::{cookie, names, remove, set_upgrade};

/// Where the users of a response see the service that it comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseContext<'a> {
    /// The path in front of everything of this service, as in `TunnelPath::prefix`.
    pub prefix: &'a str,
    /// Whether the agent takes the prefix away, so that the target's own paths lack it.
    pub stripped: bool,
    /// The public `host[:port]`; an absolute `Location` there is rewritten as a path is. May be
    /// empty.
    pub host: &'a str,
    /// Whether the origin is the platform API's too (the path form), so that nothing from a cluster
    /// may run in it.
    pub shared_origin: bool,
    /// The protocol of a real 101, whose `Connection` and `Upgrade` are put back.
    pub upgrade: Option<&'a str>,
}

/// Holds a response from a cluster to an allow-list of headers, and those to its own service.
///
/// A hostile agent must not set cookies for the domain, tell a proxy or browser to do something
/// to the whole origin, or fill a shared cache. Also makes `Location` and `Content-Location` right
/// for the users' side where the target does not know its prefix.
pub fn sanitize_response(headers: &mut HeaderMap, ctx: &ResponseContext<'_>) {
    remove(headers, |name| !names::is_allowed_in_response(name));
    confine_cookies(headers, ctx);
    keep_from_shared_caches(headers);
    for name in [LOCATION, CONTENT_LOCATION] {
        relocate(headers, &name, ctx);
    }
    if ctx.shared_origin {
        isolate(headers);
    }
    set_upgrade(headers, ctx.upgrade);
}

/// Holds a trailer section to fields that mean nothing to framing, routing, authentication or
/// caching (RFC 9110 section 6.5.1), in either direction; `grpc-*` pass.
pub fn sanitize_trailers(trailers: &mut HeaderMap) {
    remove(trailers, |name| !names::is_allowed_in_trailers(name));
}

/// Whether a path is the prefix or below it.
pub(super) fn is_under(path: &[u8], prefix: &str) -> bool {
    path.strip_prefix(prefix.as_bytes())
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'/' | b'?' | b'#')))
}

fn confine_cookies(headers: &mut HeaderMap, ctx: &ResponseContext<'_>) {
    let Entry::Occupied(entry) = headers.entry(SET_COOKIE) else {
        return;
    };
    let (name, cookies) = entry.remove_entry_mult();
    let kept: Vec<_> = cookies
        .filter_map(|value| cookie::confine(&value, ctx))
        .collect();
    for value in kept {
        headers.append(&name, value);
    }
}

/// Takes away what lets a shared cache store an answer to an authenticated request (RFC 9111
/// section 3.5: `public`, `s-maxage` and `must-revalidate`) and says `private` instead.
///
/// `must-revalidate` itself stays, as it also binds the user's own cache. A value whose quotes do
/// not close says `no-store`, as nobody can tell what it says.
fn keep_from_shared_caches(headers: &mut HeaderMap) {
    let lines = headers.get_all(CACHE_CONTROL).iter();
    let lines: Vec<&[u8]> = lines.map(HeaderValue::as_bytes).collect();
    let all = lines.join(&b", "[..]);
    let Some(mut kept) = directives(&all) else {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        return;
    };
    let before = kept.len();
    let private = kept.iter().any(|directive| is(directive, "private"));
    let stores = kept
        .iter()
        .any(|directive| is(directive, "must-revalidate"));
    kept.retain(|directive| !is_for_shared_caches(name_of(directive)));
    if kept.len() == before && (private || !stores) {
        return;
    }
    if !private {
        kept.push(b"private");
    }
    let value = HeaderValue::from_bytes(&kept.join(&b", "[..]));
    let value = value.unwrap_or(HeaderValue::from_static("no-store"));
    headers.insert(CACHE_CONTROL, value);
}

fn is_for_shared_caches(name: &[u8]) -> bool {
    is(name, "public")
        || is(name, "s-maxage")
        || is(name, "proxy-revalidate")
        || name.get(..10).is_some_and(|start| is(start, "surrogate-"))
}

fn is(name: &[u8], word: &str) -> bool {
    name.eq_ignore_ascii_case(word.as_bytes())
}

/// The name of a directive, before its argument.
fn name_of(directive: &[u8]) -> &[u8] {
    let name = directive.split(|&byte| byte == b'=').next();
    name.unwrap_or_default().trim_ascii()
}

/// The directives of a `Cache-Control` value, split at commas outside of quoted strings; `None`
/// when a quoted string does not end.
fn directives(value: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = value.split(|&byte| {
        let plain = !std::mem::take(&mut escaped);
        match byte {
            b'"' if plain => quoted = !quoted,
            b'\\' if plain && quoted => escaped = true,
            _ => {}
        }
        byte == b',' && !quoted
    });
    let parts: Vec<&[u8]> = parts
        .map(<[u8]>::trim_ascii)
        .filter(|part| !part.is_empty())
        .collect();
    (!quoted).then_some(parts)
}

/// Puts the prefix in front of a path on our own host that lacks it, where the agent took it away.
///
/// `//host` and other hosts' URLs pass unchanged, and so do relative paths, which are right as
/// they are.
fn relocate(headers: &mut HeaderMap, name: &HeaderName, ctx: &ResponseContext<'_>) {
    let Some(value) = headers.get(name).map(HeaderValue::as_bytes) else {
        return;
    };
    let (origin, path) = split_origin(value, ctx.host);
    let local = path.starts_with(b"/") && (!origin.is_empty() || !path.starts_with(b"//"));
    if !ctx.stripped || !local || is_under(path, ctx.prefix) {
        return;
    }
    let moved = [origin, ctx.prefix.as_bytes(), path].concat();
    if let Ok(moved) = HeaderValue::from_bytes(&moved) {
        headers.insert(name, moved);
    }
}

/// Splits `http[s]://{host}` off a URL, if it is on this host.
fn split_origin<'a>(url: &'a [u8], host: &str) -> (&'a [u8], &'a [u8]) {
    for scheme in ["https://", "http://"] {
        let at = scheme.len() + host.len();
        let Some((origin, path)) = url.split_at_checked(at) else {
            continue;
        };
        let same = origin
            .split_at_checked(scheme.len())
            .is_some_and(|(start, name)| is(start, scheme) && is(name, host));
        if same && !host.is_empty() {
            return (origin, path);
        }
    }
    (&[], url)
}

/// Keeps documents of a cluster from running as, and responses from being taken for, something of
/// the platform's origin.
///
/// A policy beside others only ever adds restrictions (CSP level 3 section 8.1), so whatever the
/// cluster sent along cannot loosen `sandbox`.
fn isolate(headers: &mut HeaderMap) {
    let sandbox = HeaderValue::from_static("sandbox");
    let policies = headers.get_all(CONTENT_SECURITY_POLICY);
    if !policies.iter().any(|policy| *policy == sandbox) {
        headers.append(CONTENT_SECURITY_POLICY, sandbox);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
