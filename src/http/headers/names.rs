//! The lists. Names are in lower case, as `HeaderName` has them.

use std::borrow::Cow;

/// RFC 9110 section 7.6.1 and its older names; `proxy-` is a prefix in [`is_hop_by_hop`].
const HOP_BY_HOP: [&str; 7] = [
    "connection",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    // Not hop-by-hop but never legitimate: CGI programs take it for their HTTP_PROXY.
    "proxy",
];

/// Names that a request says about its sender or its way, which only we may say, and which
/// targets believe: Kubernetes' front-proxy and impersonation headers, Grafana's auth proxy,
/// oauth2-proxy, and IIS and Symfony's rewritten paths.
const IDENTITY_PREFIXES: [&str; 9] = [
    "impersonate-",
    "x-auth-request-",
    "x-forwarded-",
    "x-original-",
    "x-pipeops-",
    "x-remote-",
    "x-rewrite-",
    "x-webauth-",
    "cf-connecting-",
];

/// Like [`IDENTITY_PREFIXES`], whole names. The method overrides would get a write past a check
/// of the request's method.
const IDENTITY: [&str; 12] = [
    "authorization",
    "client-ip",
    "forwarded",
    "remote-user",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-real-ip",
];

/// What a response from a cluster may carry beside [`RESPONSE_PREFIXES`] and `x-*`.
///
/// Left out on purpose: `strict-transport-security`, `public-key-pins`, `nel`, `report-to`,
/// `clear-site-data`, `alt-svc` and `accept-ch`, which speak for the whole origin or domain;
/// `service-worker-allowed`, which would let one service script the others; `www-authenticate`,
/// since `Authorization` is the tunnel's own and a browser would ask for a password in its name;
/// `refresh`; and every shared cache's private headers (`surrogate-control`, `cdn-cache-control`).
const RESPONSE: [&str; 38] = [
    "accept-patch",
    "accept-post",
    "accept-ranges",
    "age",
    "allow",
    "audit-id",
    "cache-control",
    "content-digest",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-security-policy",
    "content-security-policy-report-only",
    "content-type",
    "date",
    "deprecation",
    "digest",
    "etag",
    "expires",
    "last-modified",
    "link",
    "location",
    "permissions-policy",
    "pragma",
    "referrer-policy",
    "repr-digest",
    "retry-after",
    "server",
    "server-timing",
    "set-cookie",
    "sunset",
    "timing-allow-origin",
    "trailer",
    "vary",
    "warning",
];

const RESPONSE_PREFIXES: [&str; 4] = ["access-control-", "cross-origin-", "grpc-", "x-"];

const RESPONSE_WEBSOCKET: [&str; 3] = [
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
];

/// `x-*` names that a reverse proxy in front of the gateway acts on, or that are the gateway's own.
const RESPONSE_DENIED_PREFIXES: [&str; 13] = [
    "x-accel-",
    "x-envoy-",
    "x-forwarded",
    "x-lighttpd-",
    "x-litespeed-",
    "x-original-",
    "x-pipeops-",
    "x-rate-limit-",
    "x-ratelimit-",
    "x-reproxy-",
    "x-request-id",
    "x-rewrite-",
    "x-sendfile",
];

/// What a trailer section may not hold: RFC 9110 section 6.5.1 forbids framing, routing,
/// authentication, content handling and control data there.
const TRAILER_DENIED_PREFIXES: [&str; 4] = [
    "access-control-",
    "content-",
    "cross-origin-",
    "sec-websocket-",
];

const TRAILER_DENIED: [&str; 13] = [
    "age",
    "allow",
    "cache-control",
    "date",
    "expires",
    "link",
    "location",
    "pragma",
    "referrer-policy",
    "retry-after",
    "set-cookie",
    "trailer",
    "vary",
];

/// `Content-Digest` and `Repr-Digest` are made for trailers (RFC 9530 section 2).
const TRAILER_ALLOWED: [&str; 1] = ["content-digest"];

/// Headers that a `Connection` nomination does not remove: they decide where a message ends or
/// goes. `TE` and `Trailer` have rules of their own.
pub(super) fn is_never_nominated(name: &str) -> bool {
    matches!(name, "content-length" | "host" | "trailer")
}

pub(super) fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.contains(&name) || name.starts_with("proxy-")
}

/// Whether a request from a user loses this header.
///
/// Compared as if `_` were `-`, since CGI, WSGI and PHP cannot tell the two apart.
pub(super) fn is_dropped_from_request(name: &str) -> bool {
    let name = dashed(name);
    is_hop_by_hop(&name) || IDENTITY.contains(&&*name) || begins(&name, &IDENTITY_PREFIXES)
}

/// Whether a response from a cluster keeps this header.
pub(super) fn is_allowed_in_response(name: &str) -> bool {
    let listed = begins(name, &RESPONSE_PREFIXES)
        || RESPONSE.contains(&name)
        || RESPONSE_WEBSOCKET.contains(&name);
    listed && !begins(&dashed(name), &RESPONSE_DENIED_PREFIXES)
}

/// Whether a trailer section keeps this field, in either direction.
pub(super) fn is_allowed_in_trailers(name: &str) -> bool {
    let denied = TRAILER_DENIED.contains(&name) || begins(name, &TRAILER_DENIED_PREFIXES);
    is_allowed_in_response(name)
        && !is_dropped_from_request(name)
        && (!denied || TRAILER_ALLOWED.contains(&name))
}

fn begins(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

fn dashed(name: &str) -> Cow<'_, str> {
    if name.contains('_') {
        Cow::Owned(name.replace('_', "-"))
    } else {
        Cow::Borrowed(name)
    }
}
