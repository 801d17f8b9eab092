//! The forms of text that a schema's `format` and `pattern` name.

use std::net::{IpAddr, SocketAddr};

use http::Uri;
use http::uri::Authority;
use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::util::syntax;
use serde_json::Value;

use super::log::is_filter;
use super::{Listen, Period};

/// A form of text that has a name.
#[derive(Debug)]
pub struct Format {
    /// As `format` in a schema has it.
    pub name: &'static str,
    /// What an operator is told who got it wrong.
    pub must: &'static str,
    /// Whether a text has the form.
    pub accepts: fn(&str) -> bool,
}

/// All of them.
pub const FORMATS: [Format; 7] = [
    Format {
        name: "period",
        must: "must be a duration such as 30s, 15m, 12h or 90d",
        accepts: |text| text.parse::<Period>().is_ok(),
    },
    Format {
        name: "listen",
        must: "must be an address such as 127.0.0.1:8080, or :8080",
        accepts: |text| text.parse::<Listen>().is_ok(),
    },
    Format {
        name: "address",
        must: "must be an address and a port, such as 0.0.0.0:8443",
        accepts: |text| text.parse::<SocketAddr>().is_ok(),
    },
    Format {
        name: "cidr",
        must: "must be a network such as 10.0.0.0/8, or a single address such as 10.0.0.1/32",
        accepts: is_cidr,
    },
    Format {
        name: "endpoint",
        must: "must be host:port",
        accepts: is_endpoint,
    },
    Format {
        name: "https-url",
        must: "must be a URL such as https://pipeops.example.com",
        accepts: is_https_url,
    },
    Format {
        name: "log-filter",
        must: "must be error, warn, info, debug, trace, off, or a filter such as info,pipeops_tunnel::mux=debug",
        accepts: is_filter,
    },
];

/// `address/bits`, with no more bits than the address has.
fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    let digits = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
    digits && bits.len() < 4 && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

/// The one that a schema names.
pub(super) fn named(schema: &Value) -> Option<&'static Format> {
    let name = schema.get("format")?.as_str()?;
    FORMATS.iter().find(|format| format.name == name)
}

/// Whether this value of `format` is one of ours.
pub(super) fn is_known(format: &Value) -> bool {
    FORMATS.iter().any(|known| format == known.name)
}

fn is_endpoint(text: &str) -> bool {
    let authority: Result<Authority, _> = text.parse();
    authority.is_ok_and(|authority| {
        authority.port_u16().is_some() && !authority.host().is_empty() && !text.contains('@')
    })
}

fn is_https_url(text: &str) -> bool {
    let Ok(url) = text.parse::<Uri>() else {
        return false;
    };
    let port_is_one = url.authority().is_some_and(|authority| {
        let after_host = authority.as_str().strip_prefix(authority.host());
        after_host == Some("") || authority.port_u16().is_some_and(|port| port != 0)
    });
    // What stands before the host would be a password, and nothing here reads a query.
    url.scheme_str() == Some("https")
        && port_is_one
        && !text.contains(['@', '?', '#'])
        && url.host().is_some_and(|host| !host.is_empty())
}

/// Whether a text matches a schema's pattern. By the engine that log filters have brought along
/// already; the dialects agree on what patterns here are made of.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let ascii = syntax::Config::new().unicode(false).utf8(false);
    PikeVM::builder()
        .syntax(ascii)
        .build(pattern)
        .is_ok_and(|pattern| pattern.is_match(&mut pattern.create_cache(), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_anchored_where_they_say_so() {
        let name = "^[a-z0-9-]+$";
        assert!(matches(name, "prod-1"));
        for text in ["", "Prod", "a b", "a\n", "ä"] {
            assert!(!matches(name, text), "{text:?}");
        }
        assert!(!matches("(", "("));
    }

    #[test]
    fn urls_are_of_a_host() {
        for text in [
            "https://a",
            "https://a.b:8443/",
            "https://[::1]:1",
            "https://10.0.0.1/x",
        ] {
            assert!(is_https_url(text), "{text}");
        }
        for text in [
            "",
            "a",
            "http://a",
            "https://",
            "https://:1",
            "https://a:",
            "https://a:b",
            "https://a:99999",
            "https://u:p@a",
            "https://a?b",
            "https://a b",
            "ftp://a",
        ] {
            assert!(!is_https_url(text), "{text}");
        }
    }

    #[test]
    fn endpoints_have_a_port() {
        for text in ["grafana.svc:80", "10.0.0.1:1", "[::1]:65535"] {
            assert!(is_endpoint(text), "{text}");
        }
        for text in [
            "",
            "grafana",
            ":80",
            "a:",
            "a:70000",
            "u@a:80",
            "http://a:80",
        ] {
            assert!(!is_endpoint(text), "{text}");
        }
    }
}
