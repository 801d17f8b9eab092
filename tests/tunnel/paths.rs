//! What follows the service's name reaches the target byte for byte.

use crate::{
    fixture::{FORMS, Form, Tunnel, demo},
    h2client::{self, H2, empty},
    origin::Origin,
};
use serde_json::json;

/// Paths that a proxy that tidies up would change.
const RESTS: [&str; 26] = [
    "/",
    "/a%2Fb",
    "/a%2fb%2F",
    "//",
    "//x",
    "/a//b///c/",
    "/%20",
    "/a%20b+c",
    "/a;b=c",
    "/a;b=c/d;e?f;g",
    "/a?",
    "/a?x=1&y=2&x=3",
    "/a?x=/../y&z=%2e%2e",
    "/a?x=%zz&%",
    "/%zz",
    "/a?b?c",
    "/.../x",
    "/.hidden/..x/x..",
    "/%252e%252e/x",
    "/%E2%82%AC",
    "/%e2%82%ac",
    "/a:b@c,d!$&'()*~_-",
    "/a|b[c]^d",
    "/%00",
    "/CaSe/%41",
    "/a?{x}=[1]|^`",
];

/// The request line that the mirror at the target saw.
fn seen_target(mirrored: &str) -> &str {
    mirrored.split(' ').nth(1).expect("a mirrored request line")
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_pass_byte_for_byte_by_both_forms() {
    let origin = Origin::mirror().await;
    let tunnel = Tunnel::to(&origin);
    for form in FORMS {
        let mut client = tunnel.connect(form).await;
        for rest in RESTS {
            let answer = client.ask(tunnel.head(form, "GET", rest, "")).await;
            assert_eq!(answer.status(), 200, "{form:?} {rest}: {}", answer.text());
            assert_eq!(seen_target(&answer.text()), rest, "{form:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_pass_byte_for_byte_over_http2() {
    let origin = Origin::mirror().await;
    let tunnel = Tunnel::to(&origin);
    for form in FORMS {
        let client = H2::connect(&tunnel, form).await;
        for rest in RESTS {
            let request = h2client::request(&tunnel, form, "GET", rest);
            let response = client.ok(request.body(empty()).unwrap()).await;
            let (body, _) = h2client::whole(response.into_body()).await;
            let body = String::from_utf8(body.to_vec()).unwrap();
            assert_eq!(seen_target(&body), rest, "{form:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_alone_is_the_targets_root() {
    let origin = Origin::mirror().await;
    let tunnel = Tunnel::to(&origin);
    for form in FORMS {
        for (rest, wanted) in [("", "/"), ("?", "/?"), ("?x=1", "/?x=1")] {
            let mut client = tunnel.connect(form).await;
            let answer = client.ask(tunnel.head(form, "GET", rest, "")).await;
            assert_eq!(seen_target(&answer.text()), wanted, "{form:?} {rest:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_prefix_is_kept_byte_for_byte() {
    let origin = Origin::mirror().await;
    let mut service = demo(&origin);
    service["prefix"] = json!("keep");
    let tunnel = Tunnel::with(&[service]);
    for form in FORMS {
        let mut client = tunnel.connect(form).await;
        for rest in ["", "?x", "/", "/a%2Fb//c;d?e"] {
            let answer = client.ask(tunnel.head(form, "GET", rest, "")).await;
            let wanted = format!("{}{rest}", tunnel.prefix(form));
            assert_eq!(seen_target(&answer.text()), wanted, "{form:?} {rest:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_passes() {
    let origin = Origin::mirror().await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    for method in [
        "GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "M-SEARCH", "QUERY",
    ] {
        let answer = client.ask(tunnel.head(Form::Host, method, "/x", "")).await;
        assert_eq!(answer.status(), 200, "{method}");
        assert!(
            answer
                .text()
                .starts_with(&format!("{method} /x HTTP/1.1\r\n")),
            "{}",
            answer.text()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_target_passes_and_a_longer_one_is_refused() {
    let origin = Origin::mirror().await;
    let tunnel = Tunnel::to(&origin);
    let long = format!("/{}", "a".repeat(16 * 1024));
    let answer = tunnel.ask(tunnel.get(&long)).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(seen_target(&answer.text()), long);
    let longer = format!("/{}", "b".repeat(63 * 1024));
    let answer = tunnel.ask(tunnel.get(&longer)).await;
    assert!(
        [400, 414, 431].contains(&answer.status()),
        "{}",
        answer.head.first
    );
    assert!(!origin.saw("bbbb"));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_nobody_has_are_told_apart() {
    let origin = Origin::mirror().await;
    let tunnel = Tunnel::to(&origin);
    let everything = tunnel
        .gateway
        .user_token("all", "viewer", &tunnel.cluster.name, "tunnel:*");
    let ask = async |form: Form, path: &str| {
        let host = tunnel.host(form);
        let mut client = tunnel.connect(form).await;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {everything}\r\n\r\n"
        );
        let answer = client.ask(request).await;
        (answer.status(), answer.code(), answer.message())
    };
    let name = &tunnel.cluster.name;
    for (form, path) in [
        (Form::Host, "/nothing/x".to_owned()),
        (Form::Path, format!("/v1/clusters/{name}/tunnel/nothing/x")),
    ] {
        let (status, code, message) = ask(form, &path).await;
        assert_eq!(
            (status, code.as_str()),
            (404, "SERVICE_UNKNOWN"),
            "{path}: {message}"
        );
        assert!(message.contains("nothing"), "{message}");
    }
    let (status, code, _) = ask(Form::Path, "/v1/clusters/nobody/tunnel/demo/x").await;
    assert!(
        (status, code.as_str()) == (404, "CLUSTER_UNKNOWN") || status == 403,
        "{status} {code}"
    );
    for path in ["/", "/v1/nothing", "/v1/clusters/x/y"] {
        let (status, _, message) = ask(Form::Path, path).await;
        assert_eq!(status, 404, "{path}: {message}");
    }
    let (status, ..) = ask(Form::Host, "/").await;
    assert_eq!(status, 404);
    origin.assert_untouched("unknown names");
}
