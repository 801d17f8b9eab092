use super::*;
use crate::config::Secret;

fn find(config: &ProxyConfig, variables: &[(&str, &str)]) -> Result<Route, DialError> {
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Route::find(config, "gw.example.com:8443", 8443, variable)
}

fn shown(route: &Route) -> String {
    match route {
        Route::Direct => "direct".to_owned(),
        Route::Excepted(by) => format!("excepted from {by}"),
        Route::Proxied(proxy) => format!("{proxy:?}"),
    }
}

fn key(url: &str) -> ProxyConfig {
    ProxyConfig {
        url: Some(Secret::new(url)),
        ..ProxyConfig::default()
    }
}

#[test]
fn the_key_comes_before_the_variables_and_small_letters_before_capitals() {
    let none = ProxyConfig::default();
    let env = [
        ("ALL_PROXY", "http://d:4"),
        ("HTTPS_PROXY", "http://c:3"),
        ("https_proxy", "http://b:2"),
    ];
    let of = |config: &ProxyConfig, env: &[(&str, &str)]| shown(&find(config, env).unwrap());
    assert_eq!(of(&none, &[]), "direct");
    assert_eq!(of(&none, &[("https_proxy", "")]), "direct");
    assert_eq!(of(&none, &[("http_proxy", "http://x:1")]), "direct");
    assert_eq!(of(&none, &env[..1]), "http://d:4 (ALL_PROXY)");
    assert_eq!(of(&none, &env[..2]), "http://c:3 (HTTPS_PROXY)");
    assert_eq!(of(&none, &env), "http://b:2 (https_proxy)");
    assert_eq!(
        of(&key("https://a:1"), &env),
        "https://a:1 (pipeops.proxy.url)"
    );
}

#[test]
fn a_port_may_be_left_out_and_a_scheme_too() {
    for (url, expected) in [
        ("proxy", "http://proxy:80"),
        ("proxy:3128", "http://proxy:3128"),
        ("http://proxy/", "http://proxy:80"),
        ("https://proxy", "https://proxy:443"),
        ("http://[::1]:3128", "http://[::1]:3128"),
    ] {
        let Ok(Route::Proxied(proxy)) = find(&key(url), &[]) else {
            panic!("{url}")
        };
        assert_eq!(proxy.to_string(), expected);
    }
}

#[test]
fn what_is_no_proxy_for_http_is_an_error_and_not_the_direct_way() {
    for url in [
        "socks5://u:s3cret@proxy:1080",
        "ftp://proxy",
        "http://u:s3cret@",
        "a b",
    ] {
        let error = find(&key(url), &[]).unwrap_err().to_string();
        assert!(error.starts_with("pipeops.proxy.url: "), "{url}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn a_password_is_used_and_never_shown() {
    let Ok(Route::Proxied(proxy)) = find(&key("http://us%40er:s3%3Acret@proxy:3128"), &[]) else {
        panic!("a proxy")
    };
    let basic = data_encoding::BASE64.encode(b"us@er:s3:cret");
    let auth = proxy.auth.as_ref().unwrap();
    assert_eq!(auth, &format!("Basic {basic}"));
    assert!(auth.is_sensitive());
    for shown in [format!("{proxy}"), format!("{proxy:?}")] {
        assert!(
            shown.starts_with("http://proxy:3128") && !shown.contains("cret"),
            "{shown}"
        );
    }
}

#[test]
fn no_proxy_names_hosts_domains_and_ports() {
    let env = |list| [("HTTPS_PROXY", "http://proxy:1"), ("NO_PROXY", list)];
    for (list, excepted) in [
        ("gw.example.com", true),
        ("localhost, .example.com", true),
        ("localhost example.com", true),
        ("example.com", true),
        ("*.example.com", true),
        ("*", true),
        ("GW.Example.com", true),
        ("gw.example.com:8443", true),
        (".example.com:8443", true),
        ("*:8443", true),
        ("gw.example.com:443", false),
        ("", false),
        (",", false),
        ("ample.com", false),
        ("w.example.com", false),
        ("gw.example.com.evil", false),
        ("10.0.0.0/8", false),
    ] {
        let route = find(&ProxyConfig::default(), &env(list)).unwrap();
        assert_eq!(
            matches!(route, Route::Excepted("HTTPS_PROXY")),
            excepted,
            "{list:?}"
        );
    }
}

#[test]
fn no_proxy_names_addresses_and_networks() {
    for (place, list, excepted) in [
        ("10.1.2.3:443", "10.0.0.0/8", true),
        ("10.1.2.3:443", "10.1.2.3", true),
        ("10.1.2.3:443", "10.1.2.3:443", true),
        ("10.1.2.3:443", "10.1.2.3:444", false),
        ("11.1.2.3:443", "10.0.0.0/8", false),
        ("[fd00::7]:443", "fd00::/8", true),
        ("[fd00::7]:443", "fd00::7", true),
        ("[fd00::7]:443", "[fd00::7]:443", true),
        ("[fd00::7]:443", "[fd00::7]", true),
        ("[fd00::7]:443", "fd00::8", false),
    ] {
        let config = ProxyConfig {
            no_proxy: Some(list.to_owned()),
            ..key("http://proxy:1")
        };
        let route = Route::find(&config, place, 443, |_| None).unwrap();
        assert_eq!(
            matches!(route, Route::Excepted(_)),
            excepted,
            "{place} {list:?}"
        );
    }
}
