//! `Set-Cookie` from a cluster, held to the service that it came from.

use http::HeaderValue;

use super::response::{ResponseContext, is_under};

/// Attributes that pass as they are (RFC 6265bis section 4.1.2, and Chromium's `Priority`).
const PASSED: [&str; 6] = [
    "expires",
    "httponly",
    "max-age",
    "partitioned",
    "priority",
    "samesite",
];

/// The cookie that a response may set in place of this one; `None` if there is none.
///
/// - `Domain` goes, so that no other cluster's host gets it.
/// - `Path` is put under the service's prefix; a cookie without one gets the prefix, since a
///   browser's default for `/{service}` is `/`.
/// - `Secure` is added: the public side is always TLS.
/// - `__Host-` names are dropped: a browser takes them with `Path=/` only, which other services
///   would share. `__Secure-` and `__Http-` stay, what they ask for is given or kept.
/// - A cookie without a name is dropped: browsers send it back as a bare value, which servers can
///   read as any name. So is whatever does not parse.
pub(super) fn confine(value: &HeaderValue, ctx: &ResponseContext<'_>) -> Option<HeaderValue> {
    let text = std::str::from_utf8(value.as_bytes()).ok()?;
    if text.contains('\t') {
        return None;
    }
    let mut parts = text.split(';').map(str::trim_ascii);
    let pair = parts.next()?;
    let (name, content) = pair.split_once('=')?;
    let (name, content) = (name.trim_ascii(), content.trim_ascii());
    if !is_name(name) {
        return None;
    }
    let mut cookie = format!("{name}={content}");
    let mut path = None;
    for attribute in parts {
        let (key, argument) = attribute.split_once('=').unwrap_or((attribute, ""));
        let key = key.trim_ascii();
        if key.eq_ignore_ascii_case("path") {
            path = Some(argument.trim_ascii());
        } else if PASSED.iter().any(|passed| key.eq_ignore_ascii_case(passed)) {
            cookie.push_str("; ");
            cookie.push_str(attribute);
        }
    }
    cookie.push_str("; Path=");
    push_path(&mut cookie, path, ctx);
    cookie.push_str("; Secure");
    HeaderValue::from_bytes(cookie.as_bytes()).ok()
}

fn is_name(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let host = name
        .get(.."__Host-".len())
        .is_some_and(|start| start.eq_ignore_ascii_case("__Host-"));
    !name.is_empty() && name.bytes().all(token) && !host
}

fn push_path(cookie: &mut String, path: Option<&str>, ctx: &ResponseContext<'_>) {
    match path {
        Some(path) if is_under(path.as_bytes(), ctx.prefix) => cookie.push_str(path),
        Some(path) if ctx.stripped && path.starts_with('/') && path.len() > 1 => {
            cookie.push_str(ctx.prefix);
            cookie.push_str(path);
        }
        Some(_) | None => cookie.push_str(ctx.prefix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confined(cookie: &str, stripped: bool) -> Option<String> {
        let ctx = ResponseContext {
            prefix: "/grafana",
            stripped,
            ..ResponseContext::default()
        };
        let value = HeaderValue::from_str(cookie).unwrap();
        let once = confine(&value, &ctx)?;
        assert_eq!(confine(&once, &ctx).as_ref(), Some(&once), "idempotent");
        Some(once.to_str().unwrap().to_owned())
    }

    #[test]
    fn cookies_stay_with_their_service() {
        let cases = [
            ("a=b", "a=b; Path=/grafana; Secure"),
            ("a=b; Path=/", "a=b; Path=/grafana; Secure"),
            ("a=b; path=/x", "a=b; Path=/grafana/x; Secure"),
            ("a=b; Path=/grafana/x", "a=b; Path=/grafana/x; Secure"),
            ("a=b; Path=/grafanas", "a=b; Path=/grafana/grafanas; Secure"),
            ("a=b; Path=/x; Path=/", "a=b; Path=/grafana; Secure"),
            ("a=b; Path=x", "a=b; Path=/grafana; Secure"),
            (
                "a=b; DOMAIN=example.com; Secure",
                "a=b; Path=/grafana; Secure",
            ),
            (
                "a=\"b=c\" ;HttpOnly;SameSite=Lax;Max-Age=1; Evil=1",
                "a=\"b=c\"; HttpOnly; SameSite=Lax; Max-Age=1; Path=/grafana; Secure",
            ),
            (
                "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
                "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/grafana; Secure",
            ),
            (
                "__Secure-a=b; Domain = x",
                "__Secure-a=b; Path=/grafana; Secure",
            ),
        ];
        for (cookie, expected) in cases {
            assert_eq!(
                confined(cookie, true).as_deref(),
                Some(expected),
                "{cookie}"
            );
        }
    }

    #[test]
    fn a_path_outside_an_unstripped_prefix_becomes_the_prefix() {
        assert_eq!(
            confined("a=b; Path=/x", false).unwrap(),
            "a=b; Path=/grafana; Secure"
        );
        let inside = "a=b; Path=/grafana/x; Secure";
        assert_eq!(confined("a=b; Path=/grafana/x", false).unwrap(), inside);
    }

    #[test]
    fn cookies_that_no_service_may_set_are_dropped() {
        for cookie in [
            "",
            "a",
            "=b",
            "=__Host-a=b",
            "; a=b",
            "a b=c",
            "a\tb=c",
            "a=b\tc",
            "__Host-a=b; Path=/; Secure",
            "__hOST-a=b",
            "__Host-Http-a=b",
            "a(=b",
        ] {
            assert_eq!(confined(cookie, true), None, "{cookie:?}");
        }
    }
}
