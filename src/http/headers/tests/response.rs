use http::header::{CACHE_CONTROL, LOCATION};

use super::*;

#[test]
fn a_response_keeps_what_is_on_the_list() {
    let kept = [
        ("content-type", "text/html"),
        ("content-length", "3"),
        ("etag", "\"a\""),
        ("cache-control", "max-age=3"),
        ("content-security-policy", "default-src 'self'"),
        ("retry-after", "1"),
        ("audit-id", "a"),
        ("x-kubernetes-pf-flowschema-uid", "a"),
        ("x-stream-protocol-version", "v4.channel.k8s.io"),
        ("sec-websocket-accept", "a"),
        ("grpc-status", "0"),
        ("access-control-allow-origin", "*"),
        ("server-timing", "a"),
        ("x-frame-options", "DENY"),
        ("trailer", "grpc-status"),
        ("warning", "299 - \"a\""),
    ];
    assert_eq!(response(&kept, &GRAFANA), map(&kept));
    let dropped = [
        ("strict-transport-security", "max-age=0"),
        ("X-Accel-Redirect", "/etc"),
        ("x_accel_redirect", "/etc"),
        ("x-sendfile", "/etc"),
        ("x-forwarded-for", "a"),
        ("x-request-id", "a"),
        ("x-ratelimit-limit", "1"),
        ("x-pipeops-a", "b"),
        ("surrogate-control", "a"),
        ("clear-site-data", "\"*\""),
        ("alt-svc", "clear"),
        ("service-worker-allowed", "/"),
        ("www-authenticate", "Basic"),
        ("nel", "{}"),
        ("keep-alive", "a"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "x"),
        ("proxy-authenticate", "Basic"),
        ("made-up", "a"),
    ];
    assert_eq!(response(&dropped, &GRAFANA), map(&[]));
    let nominated = [
        ("connection", "etag, content-length"),
        ("etag", "a"),
        ("content-length", "1"),
    ];
    assert_eq!(
        response(&nominated, &GRAFANA),
        map(&[("content-length", "1")])
    );
}

#[test]
fn a_switch_of_protocols_is_confirmed() {
    let ctx = ResponseContext {
        upgrade: Some("websocket"),
        ..GRAFANA
    };
    let headers = response(
        &[
            ("connection", "upgrade"),
            ("upgrade", "x"),
            ("sec-websocket-accept", "k"),
        ],
        &ctx,
    );
    let expected = [
        ("sec-websocket-accept", "k"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
    ];
    assert_eq!(headers, map(&expected));
}

#[test]
fn shared_caches_keep_nothing() {
    let cases = [
        ("no-cache", "no-cache"),
        ("public", "private"),
        ("PUBLIC, max-age=5", "max-age=5, private"),
        ("max-age=5, S-MaxAge = 9, private", "max-age=5, private"),
        ("must-revalidate", "must-revalidate, private"),
        ("must-revalidate, private", "must-revalidate, private"),
        (
            "private=\"set-cookie, public\", s-maxage=1",
            "private=\"set-cookie, public\", private",
        ),
        (
            "surrogate-x=1,a=\"b\\\"c, public\"",
            "a=\"b\\\"c, public\", private",
        ),
        ("a=\"public", "no-store"),
    ];
    for (value, expected) in cases {
        let headers = response(&[("cache-control", value)], &GRAFANA);
        assert_eq!(headers[CACHE_CONTROL], expected, "{value}");
    }
    let lines = response(
        &[("cache-control", "max-age=1"), ("cache-control", "public")],
        &GRAFANA,
    );
    assert_eq!(lines, map(&[("cache-control", "max-age=1, private")]));
    assert_eq!(response(&[], &GRAFANA), map(&[]));
}

#[test]
fn locations_get_the_prefix_that_was_taken_away() {
    let cases = [
        ("/login", "/grafana/login"),
        ("/", "/grafana/"),
        ("/?a", "/grafana/?a"),
        ("/grafana", "/grafana"),
        ("/grafana/login", "/grafana/login"),
        ("/grafana?a", "/grafana?a"),
        ("/grafanas", "/grafana/grafanas"),
        ("/\\evil.com", "/grafana/\\evil.com"),
        ("//other/x", "//other/x"),
        ("https://other/x", "https://other/x"),
        ("login", "login"),
        ("", ""),
        (
            "HTTPS://T.example.com/login",
            "HTTPS://T.example.com/grafana/login",
        ),
        ("http://t.example.com//x", "http://t.example.com/grafana//x"),
        (
            "https://t.example.com/grafana/x",
            "https://t.example.com/grafana/x",
        ),
        (
            "https://t.example.com.evil/x",
            "https://t.example.com.evil/x",
        ),
        ("https://t.example.com:1/x", "https://t.example.com:1/x"),
    ];
    for (value, expected) in cases {
        let headers = response(&[("location", value)], &GRAFANA);
        assert_eq!(headers[LOCATION], expected, "{value}");
        let unstripped = ResponseContext {
            stripped: false,
            ..GRAFANA
        };
        assert_eq!(
            response(&[("location", value)], &unstripped)[LOCATION],
            value
        );
    }
}

#[test]
fn cookies_are_confined_one_by_one() {
    let pairs = [
        ("set-cookie", "a=b; Domain=x"),
        ("set-cookie", "bad"),
        ("set-cookie", "c=d"),
    ];
    let expected = [
        ("set-cookie", "a=b; Path=/grafana; Secure"),
        ("set-cookie", "c=d; Path=/grafana; Secure"),
    ];
    assert_eq!(response(&pairs, &GRAFANA), map(&expected));
}

#[test]
fn a_shared_origin_is_isolated() {
    let ctx = ResponseContext {
        shared_origin: true,
        ..GRAFANA
    };
    let own = "sandbox allow-scripts allow-same-origin";
    let headers = response(
        &[
            ("content-security-policy", own),
            ("x-content-type-options", "x"),
        ],
        &ctx,
    );
    let expected = [
        ("content-security-policy", own),
        ("content-security-policy", "sandbox"),
        ("x-content-type-options", "nosniff"),
    ];
    assert_eq!(headers, map(&expected));
}

#[test]
fn trailers_carry_no_control_data() {
    let mut trailers = map(&[
        ("grpc-status", "0"),
        ("grpc-message", "ok"),
        ("x-checksum", "a"),
        ("server-timing", "a"),
        ("content-digest", "a"),
        ("content-length", "9"),
        ("transfer-encoding", "chunked"),
        ("host", "b"),
        ("authorization", "Bearer a"),
        ("set-cookie", "a=b"),
        ("content-type", "a"),
        ("location", "/"),
        ("x-forwarded-for", "a"),
        ("impersonate-user", "a"),
        ("trailer", "a"),
        ("x-remote-user", "a"),
        ("cache-control", "public"),
        ("connection", "grpc-message"),
    ]);
    sanitize_trailers(&mut trailers);
    let left = [
        ("grpc-status", "0"),
        ("x-checksum", "a"),
        ("server-timing", "a"),
        ("content-digest", "a"),
    ];
    assert_eq!(trailers, map(&left));
}
