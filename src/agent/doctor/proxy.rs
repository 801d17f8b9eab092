//! Whether a proxy is asked for, which the agent does not use.

use std::env;

use super::report::Finding;
use crate::agent::dial::Dialer;

/// The variables that name a proxy for HTTPS, in the order in which curl looks.
const VARIABLES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// All proxies that the environment names, whatever they are for.
pub(super) fn urls() -> Vec<String> {
    VARIABLES
        .into_iter()
        .chain(["http_proxy", "HTTP_PROXY"])
        .filter_map(variable)
        .collect()
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Looks at the environment; `direct` says whether the gateway was reached without a proxy.
pub(super) fn check(dialer: &Dialer, direct: bool) -> Finding {
    let place = dialer.place();
    let Some((name, url)) = VARIABLES
        .into_iter()
        .find_map(|name| Some((name, variable(name)?)))
    else {
        return Finding::ok("proxy", &place, "no proxy is set");
    };
    let exceptions = variable("no_proxy").or_else(|| variable("NO_PROXY"));
    if exceptions.is_some_and(|list| excepts(&list, &dialer.host)) {
        return Finding::ok(
            "proxy",
            &place,
            format!("{name} is set, and NO_PROXY leaves the gateway out"),
        );
    }
    let proxy = without_user(&url);
    let (details, action) = if direct {
        (
            format!("{name} names {proxy}, which this agent does not use; the direct way works"),
            "nothing has to be done; to have it said no more, add the gateway's host to NO_PROXY"
                .to_owned(),
        )
    } else {
        (
            format!(
                "{name} names {proxy}, which this agent does not use; the direct way does not work"
            ),
            format!(
                "let the agent out to {place} directly: it speaks TLS from end to end and needs no other way out"
            ),
        )
    };
    Finding::warning("proxy", &place, details, action)
}

/// Whether a `NO_PROXY` list names this host: itself, a domain above it, or `*`.
fn excepts(list: &str, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    list.split([',', ' ']).map(str::trim).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        let entry = entry.trim_start_matches("*.").trim_start_matches('.');
        match host.strip_suffix(entry) {
            _ if entry.is_empty() => false,
            _ if entry == "*" => true,
            Some(rest) => rest.is_empty() || rest.ends_with('.'),
            None => false,
        }
    })
}

/// A proxy's URL without its user and password.
fn without_user(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let place = authority
        .rsplit_once('@')
        .map_or(authority, |(_, place)| place);
    format!("{scheme}://{place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_names_hosts_and_their_domains() {
        for (list, excepted) in [
            ("gw.example.com", true),
            ("localhost, .example.com", true),
            ("example.com", true),
            ("*.example.com", true),
            ("*", true),
            ("GW.Example.com", true),
            ("", false),
            (",", false),
            ("ample.com", false),
            ("w.example.com", false),
            ("gw.example.com.evil", false),
        ] {
            assert_eq!(excepts(list, "gw.example.com"), excepted, "{list:?}");
        }
    }

    #[test]
    fn a_proxys_password_is_not_shown() {
        for url in [
            "http://u:p@proxy:3128/x",
            "u:p@proxy:3128",
            "http://a@b@proxy:3128",
        ] {
            assert_eq!(without_user(url), "http://proxy:3128", "{url}");
        }
    }
}
