//! The one host that a request is for.
//!
//! A request can name its host in the request target, in `Host` and in the TLS handshake. Routing
//! by one while a cache, a log or a target reads another is how requests reach the wrong tenant,
//! so the names have to agree.

use std::fmt;
use std::net::Ipv6Addr;

use http::header::{HOST, HeaderMap};
use http::uri::Uri;

use crate::wire::error::{ApiError, ErrorCode};

/// Longest host name in its text form, RFC 1035 section 2.3.4 without the two length bytes.
const MAX_HOST: usize = 253;

/// A host and port as RFC 3986 section 3.2 has them, in one spelling.
///
/// `Display` writes `host` or `host:port`, fit for `X-Forwarded-Host`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    /// Reads `host[:port]`.
    ///
    /// # Errors
    /// `INVALID_REQUEST` for userinfo, percent-encoding, an IPv6 zone, an empty or zero port, and
    /// anything that is neither a DNS name, an IPv4 address nor a bracketed IPv6 address.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        if text.contains('@') {
            return Err(refuse("userinfo in the authority"));
        }
        let (host, port) = split_port(text).ok_or_else(|| refuse("invalid host or port"))?;
        let host = canonical(host).ok_or_else(|| refuse("invalid host"))?;
        Ok(Self { host, port })
    }

    /// The host in lower case and without a trailing dot; IPv6 in its shortest form in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if one was named.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The authority of a request, from its target (or `:authority` in HTTP/2) and its `Host`.
///
/// # Errors
/// `INVALID_REQUEST` when there is none (RFC 9112 section 3.2; also in HTTP/1.0, where a host
/// may lack but a tunnel cannot be found without one), when there are several `Host` headers, when
/// target and `Host` differ (RFC 9113 section 8.3.1), or when one of them is not
/// [valid](Authority::parse).
pub fn of_request(uri: &Uri, headers: &HeaderMap) -> Result<Authority, ApiError> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(refuse("more than one Host header"));
    }
    let host = match host.map(http::HeaderValue::to_str) {
        Some(Ok(text)) => Some(Authority::parse(text)?),
        Some(Err(_)) => return Err(refuse("invalid Host header")),
        None => None,
    };
    let target = uri.authority().map(|text| Authority::parse(text.as_str()));
    match (target.transpose()?, host) {
        (None, None) => Err(refuse("no Host header")),
        (Some(only), None) | (None, Some(only)) => Ok(only),
        (Some(target), Some(host)) if target == host => Ok(target),
        (Some(_), Some(_)) => Err(refuse("Host differs from the request target")),
    }
}

/// Whether a host is the one that the TLS client named (RFC 6066 section 3).
///
/// True without SNI: a client that named nothing was served by the default certificate and has
/// not contradicted itself.
pub fn matches_sni(host: &str, sni: Option<&str>) -> bool {
    sni.is_none_or(|sni| without_dot(sni).eq_ignore_ascii_case(without_dot(host)))
}

/// Refuses a request whose host is not the one of its TLS connection.
///
/// # Errors
/// `MISDIRECTED_REQUEST`, upon which a browser that had coalesced two hosts on one HTTP/2
/// connection opens another (RFC 9110 section 15.5.20).
pub fn check_sni(authority: &Authority, sni: Option<&str>) -> Result<(), ApiError> {
    if matches_sni(authority.host(), sni) {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::MisdirectedRequest,
        "The request's host is not the one of the TLS connection",
    )
    .with_detail("field", "host"))
}

fn refuse(reason: &'static str) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, "The request's host is ambiguous")
        .with_detail("field", "host")
        .with_detail("reason", reason)
}

/// Host and port of `host[:port]`, with the brackets of an IPv6 host left on.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let after_host = text.rfind(']').unwrap_or(0);
    let (_, tail) = text.split_at_checked(after_host)?;
    let Some((_, digits)) = tail.split_once(':') else {
        return Some((text, None));
    };
    let host = text.strip_suffix(digits)?.strip_suffix(':')?;
    let plain = (1..=5).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let port = digits
        .parse()
        .ok()
        .filter(|&port: &u16| plain && port > 0)?;
    Some((host, Some(port)))
}

fn canonical(host: &str) -> Option<String> {
    if let Some(inside) = host.strip_prefix('[') {
        let address: Ipv6Addr = inside.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    let host = without_dot(host);
    let valid = (1..=MAX_HOST).contains(&host.len()) && host.split('.').all(is_label);
    valid.then(|| host.to_ascii_lowercase())
}

/// A label of a host name; `_` is no part of one by RFC 1123 but of many that are in use.
fn is_label(label: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len()) && label.bytes().all(allowed)
}

fn without_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(uri: &str, hosts: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_str(host).unwrap());
        }
        let authority = of_request(&uri.parse().unwrap(), &headers);
        authority.ok().map(|authority| authority.to_string())
    }

    #[test]
    fn one_name_from_either_place_is_enough() {
        assert_eq!(
            of("/x", &["Tunnel-A.Example.COM."]).unwrap(),
            "tunnel-a.example.com"
        );
        assert_eq!(of("/x", &["a:8443"]).unwrap(), "a:8443");
        assert_eq!(of("https://a/x", &[]).unwrap(), "a");
        assert_eq!(of("https://A./x", &["a"]).unwrap(), "a");
        assert_eq!(of("a:443", &["a:443"]).unwrap(), "a:443");
    }

    #[test]
    fn none_several_or_different_names_are_refused() {
        assert_eq!(of("/x", &[]), None);
        assert_eq!(of("/x", &[""]), None);
        assert_eq!(of("/x", &["a", "a"]), None);
        assert_eq!(of("https://a/x", &["b"]), None);
        assert_eq!(of("https://a:1/x", &["a"]), None);
        assert_eq!(of("https://u@a/x", &[]), None);
        assert_eq!(of("https://u@a/x", &["a"]), None);
        assert_eq!(of("/x", &["u:p@a"]), None);
    }

    #[test]
    fn ipv6_has_one_spelling() {
        assert_eq!(
            of("/x", &["[2001:DB8:0::1]:8443"]).unwrap(),
            "[2001:db8::1]:8443"
        );
        let authority = Authority::parse("[::1]").unwrap();
        assert_eq!((authority.host(), authority.port()), ("[::1]", None));
    }

    #[test]
    fn malformed_hosts_are_refused() {
        let long = format!("{}.a", "a".repeat(64));
        for bad in [
            ".",
            "..",
            "a..",
            ".a",
            "a..b",
            "a b",
            "a/b",
            "a,b",
            "a%2eb",
            "é",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a:1:2",
            ":1",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]:",
            "[fe80::1%25eth0]",
            "[a]",
            "[]",
            "a]:1",
            "a:b]",
            "[::1]:1]",
            "a\\b",
            long.as_str(),
        ] {
            assert!(Authority::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sni_has_to_agree_when_there_is_one() {
        assert!(matches_sni("a.b", None));
        assert!(matches_sni("a.b", Some("A.b.")));
        assert!(!matches_sni("a.b", Some("a.c")));
        let err = check_sni(&Authority::parse("a.b").unwrap(), Some("c")).unwrap_err();
        assert_eq!(err.code, ErrorCode::MisdirectedRequest);
    }

    proptest! {
        #[test]
        fn what_is_accepted_reads_the_same_again(text in "[\\[\\]a-zA-Z0-9.:_@%-]{0,20}") {
            if let Ok(authority) = Authority::parse(&text) {
                prop_assert_eq!(Authority::parse(&authority.to_string()).unwrap(), authority);
            }
        }

        #[test]
        fn never_panics(text in any::<String>()) {
            let _authority = Authority::parse(&text);
        }
    }
}
