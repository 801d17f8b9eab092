//! The header policy, tried from outside.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

mod response;

fn map(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn request(pairs: &[(&str, &str)], upgrade: Option<&str>) -> HeaderMap {
    let mut headers = map(pairs);
    sanitize_request(&mut headers, upgrade);
    headers
}

const GRAFANA: ResponseContext<'_> = ResponseContext {
    prefix: "/grafana",
    stripped: true,
    host: "t.example.com",
    shared_origin: false,
    upgrade: None,
};

fn response(pairs: &[(&str, &str)], ctx: &ResponseContext<'_>) -> HeaderMap {
    let mut headers = map(pairs);
    sanitize_response(&mut headers, ctx);
    headers
}

const STRIPPED: &[&str] = &[
    "Authorization",
    "Client-Ip",
    "Connection",
    "Forwarded",
    "Impersonate-Extra-x",
    "Impersonate-User",
    "Impersonate-",
    "Keep-Alive",
    "Proxy",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Remote-User",
    "Transfer-Encoding",
    "Upgrade",
    "HTTP2-Settings",
    "X-Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Prefix",
    "X-HTTP-Method-Override",
    "X-Original-URL",
    "X-PipeOps-Subject",
    "X-Real-IP",
    "X-Remote-Extra-a",
    "X-Remote-Group",
    "X-Rewrite-URL",
    "X-WebAuth-User",
    "X_Forwarded_For",
    "X_REAL_IP",
    "Impersonate_User",
];

#[test]
fn a_request_keeps_what_is_the_users() {
    let kept = [
        ("host", "a"),
        ("content-length", "3"),
        ("cookie", "a=b"),
        ("accept", "*/*"),
        ("content-type", "x/y"),
        ("origin", "https://a"),
        ("sec-websocket-key", "k"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("x-stream-protocol-version", "v4"),
        ("x-custom", "1"),
    ];
    assert_eq!(request(&kept, None), map(&kept));
}

#[test]
fn nominations_remove_what_they_may_and_never_framing() {
    let headers = request(
        &[
            ("Connection", "close, X-Hop,content-length"),
            (
                "connection",
                "HOST, Trailer, TE, authorization, x-forwarded-for, (bad)",
            ),
            ("x-hop", "1"),
            ("content-length", "3"),
            ("host", "a"),
            ("trailer", "x"),
            ("te", "gzip;q=0.5, Trailers"),
            ("authorization", "Bearer a"),
        ],
        None,
    );
    let left = [
        ("content-length", "3"),
        ("host", "a"),
        ("trailer", "x"),
        ("te", "trailers"),
    ];
    assert_eq!(headers, map(&left));
    assert_eq!(request(&[("te", "gzip")], None), map(&[]));
}

#[test]
fn an_upgrade_is_put_back_alone() {
    let pairs = [
        ("Connection", "keep-alive, Upgrade"),
        ("Upgrade", "websocket"),
        ("a", "b"),
    ];
    let protocol = upgrade_protocol(&map(&pairs));
    let headers = request(&pairs, protocol.as_deref());
    assert_eq!(
        headers,
        map(&[
            ("a", "b"),
            ("connection", "Upgrade"),
            ("upgrade", "websocket")
        ])
    );
    let bad = request(&pairs, Some("a\r\nb"));
    assert_eq!(bad, map(&[("a", "b")]));
}

#[test]
fn only_a_real_upgrade_counts() {
    let of = |pairs: &[(&str, &str)]| upgrade_protocol(&map(pairs));
    let spdy = [("connection", "x, UPGRADE"), ("upgrade", "SPDY/3.1")];
    assert_eq!(of(&spdy).as_deref(), Some("SPDY/3.1"));
    assert_eq!(of(&[("upgrade", "websocket")]), None);
    assert_eq!(of(&[("connection", "upgrade")]), None);
    assert_eq!(
        of(&[("connection", "upgrades"), ("upgrade", "websocket")]),
        None
    );
    assert_eq!(
        of(&[("connection", "upgrade"), ("upgrade", "h2c, websocket")]),
        None
    );
    assert_eq!(of(&[("connection", "upgrade"), ("upgrade", "")]), None);
    let twice = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("upgrade", "websocket"),
    ];
    assert_eq!(of(&twice), None);
}

#[test]
fn the_bearer_subprotocol_goes_and_the_others_stay() {
    let name = "sec-websocket-protocol";
    let token = "base64url.bearer.authorization.k8s.io.YWJj";
    let shouted = "BASE64URL.Bearer.authorization.k8s.io.YWJj";
    let both = format!("a,{token}, b");
    assert_eq!(
        request(&[(name, &both), (name, shouted), (name, "c")], None),
        map(&[(name, "a, b, c")])
    );
    assert_eq!(request(&[(name, token)], None), map(&[]));
    assert_eq!(
        request(&[(name, "a,b"), (name, "c")], None),
        map(&[(name, "a,b"), (name, "c")])
    );
}

#[test]
fn forwarded_replaces_what_was_there() {
    let mut headers = map(&[("x-forwarded-host", "evil"), ("x-forwarded-host", "evil")]);
    forwarded(&mut headers, "/grafana", "t.example.com:8443", "https").unwrap();
    let expected = [
        ("x-forwarded-prefix", "/grafana"),
        ("x-forwarded-host", "t.example.com:8443"),
        ("x-forwarded-proto", "https"),
    ];
    assert_eq!(headers, map(&expected));
    assert!(forwarded(&mut headers, "/\n", "h", "https").is_err());
    assert_eq!(headers, map(&expected));
}

/// Names that matter and some that do not, in any casing.
fn name() -> impl Strategy<Value = String> {
    let known = [
        STRIPPED,
        &[
            "Host",
            "Content-Length",
            "Set-Cookie",
            "Location",
            "Cache-Control",
            "TE",
            "Sec-WebSocket-Protocol",
            "X-Accel-Redirect",
            "Content-Security-Policy",
        ],
    ]
    .concat();
    let known = (select(known), any::<u64>()).prop_map(|(name, mask)| {
        let cased = |(at, c): (usize, char)| match mask >> (at % 64) & 1 {
            0 => c.to_ascii_lowercase(),
            _ => c.to_ascii_uppercase(),
        };
        name.chars().enumerate().map(cased).collect()
    });
    prop_oneof![4 => known, 1 => "[a-zA-Z-]{1,10}"]
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    let value = prop_oneof![
        "[ -~]{0,20}",
        Just("Trailers".to_owned()),
        Just("a=b; Path=/x, public".to_owned()),
        Just("x, base64url.bearer.authorization.k8s.io.YQ".to_owned())
    ];
    let plain = vec((name(), value), 0..8);
    let nominations = vec(vec(name(), 0..4).prop_map(|names| names.join(", ")), 0..3);
    (plain, nominations).prop_map(|(mut pairs, nominations)| {
        pairs.extend(
            nominations
                .into_iter()
                .map(|value| ("Connection".to_owned(), value)),
        );
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        map(&pairs)
    })
}

proptest! {
    #[test]
    fn no_stripped_name_survives(mut headers in headers(), switch in any::<bool>()) {
        let host = headers.get_all("host").iter().cloned().collect::<Vec<_>>();
        let length = headers.get_all("content-length").iter().cloned().collect::<Vec<_>>();
        let upgrade = switch.then_some("websocket");
        sanitize_request(&mut headers, upgrade);
        for name in STRIPPED {
            let ours = switch && ["Connection", "Upgrade"].contains(name);
            prop_assert_eq!(headers.contains_key(*name), ours, "{}", name);
        }
        prop_assert!(headers.get_all("te").iter().all(|value| value == "trailers"));
        let mut entries = elements(&headers, "sec-websocket-protocol");
        prop_assert!(!entries.any(bearer::is_bearer_protocol));
        drop(entries);
        prop_assert_eq!(headers.get_all("host").iter().cloned().collect::<Vec<_>>(), host);
        prop_assert_eq!(headers.get_all("content-length").iter().cloned().collect::<Vec<_>>(), length);
        let once = headers.clone();
        strip_for_target(&mut headers, upgrade);
        prop_assert_eq!(headers, once);
    }

    #[test]
    fn responses_are_clean_after_one_pass(mut headers in headers(), shared in any::<bool>(), stripped in any::<bool>()) {
        let ctx = ResponseContext { shared_origin: shared, stripped, ..GRAFANA };
        sanitize_response(&mut headers, &ctx);
        for name in ["x-accel-redirect", "connection", "transfer-encoding", "authorization"] {
            prop_assert!(!headers.contains_key(name));
        }
        for cookie in headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            prop_assert!(cookie.contains("; Path=/grafana") && cookie.ends_with("; Secure"));
        }
        let once = headers.clone();
        sanitize_response(&mut headers, &ctx);
        prop_assert_eq!(&headers, &once);
        sanitize_trailers(&mut headers);
        let trailers = headers.clone();
        sanitize_trailers(&mut headers);
        prop_assert_eq!(headers, trailers);
    }
}
