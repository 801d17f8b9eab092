//! What a target may say to its users under the gateway's name.

use crate::{
    fixture::{FORMS, Form, Tunnel, demo},
    origin::Origin,
    wire::response,
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn responses_pass_by_an_allow_list() {
    let fields = "Content-Type: text/x-mine\r\nETag: \"1\"\r\nX-Custom: kept\r\nAccess-Control-Allow-Origin: *\r\n\
        Strict-Transport-Security: max-age=9\r\nX-Accel-Redirect: /etc/passwd\r\nX-Sendfile: /etc/passwd\r\n\
        Alt-Svc: h3=\":1\"\r\nClear-Site-Data: \"*\"\r\nPublic-Key-Pins: x\r\nWWW-Authenticate: Basic\r\n\
        Refresh: 0\r\nService-Worker-Allowed: /\r\nX-Request-Id: forged\r\nProxy-Authenticate: Basic\r\n\
        Connection: X-Hop\r\nX-Hop: gone\r\nKeep-Alive: timeout=9\r\nX-Pipeops-Role: admin\r\n";
    let origin = Origin::answering(move |_, _| response("200 OK", fields, "body")).await;
    let tunnel = Tunnel::to(&origin);
    for form in FORMS {
        let mut client = tunnel.connect(form).await;
        let answer = client.ask(tunnel.head(form, "GET", "/", "")).await;
        assert_eq!(answer.body.bytes, b"body");
        for (name, value) in [
            ("content-type", "text/x-mine"),
            ("etag", "\"1\""),
            ("x-custom", "kept"),
            ("access-control-allow-origin", "*"),
        ] {
            assert_eq!(answer.head.get(name), Some(value), "{form:?} {name}");
        }
        for name in [
            "strict-transport-security",
            "x-accel-redirect",
            "x-sendfile",
            "alt-svc",
            "clear-site-data",
            "public-key-pins",
            "www-authenticate",
            "refresh",
            "service-worker-allowed",
            "proxy-authenticate",
            "x-hop",
            "keep-alive",
            "x-pipeops-role",
        ] {
            assert!(
                !answer.head.has(name),
                "{form:?}: {name} passed: {:?}",
                answer.head.fields
            );
        }
        assert_ne!(answer.head.get("x-request-id"), Some("forged"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_stay_with_the_service_that_set_them() {
    let fields = "Set-Cookie: a=1; Domain=pipeops.localhost; Path=/; HttpOnly\r\nSet-Cookie: b=2; Path=/x\r\n\
        Set-Cookie: __Host-c=3; Path=/; Secure\r\n";
    let origin = Origin::answering(move |_, _| response("200 OK", fields, "")).await;
    let tunnel = Tunnel::to(&origin);
    for form in FORMS {
        let mut client = tunnel.connect(form).await;
        let answer = client.ask(tunnel.head(form, "GET", "/", "")).await;
        let cookies = answer.head.all("set-cookie");
        assert_eq!(cookies.len(), 2, "{cookies:?}");
        let prefix = tunnel.prefix(form);
        for (cookie, path) in cookies.iter().zip([prefix.clone(), format!("{prefix}/x")]) {
            assert!(!cookie.to_lowercase().contains("domain"), "{cookie}");
            assert!(
                cookie.contains(&format!("Path={path}")) && cookie.contains("Secure"),
                "{form:?}: {cookie}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_stay_within_the_service() {
    let origin = Origin::answering(|head, _| {
        let (_, to) = head.target().split_once("?to=").expect("a place");
        let host = head.get("x-forwarded-host").unwrap();
        let to = to.replace("HOST", host);
        response("302 Found", &format!("Location: {to}\r\n"), "")
    })
    .await;
    let tunnel = Tunnel::to(&origin);
    for form in FORMS {
        let mut client = tunnel.connect(form).await;
        let (prefix, host) = (tunnel.prefix(form), tunnel.host(form));
        for (to, wanted) in [
            ("/login", format!("{prefix}/login")),
            ("/", format!("{prefix}/")),
            ("/a%2Fb?c=/d", format!("{prefix}/a%2Fb?c=/d")),
            (
                "https://HOST/login",
                format!("https://{host}{prefix}/login"),
            ),
            ("sub/page", "sub/page".to_owned()),
            ("?x=1", "?x=1".to_owned()),
            (
                "https://elsewhere.example/login",
                "https://elsewhere.example/login".to_owned(),
            ),
            (
                "//elsewhere.example/login",
                "//elsewhere.example/login".to_owned(),
            ),
        ] {
            let answer = client
                .ask(tunnel.head(form, "GET", &format!("/?to={to}"), ""))
                .await;
            assert_eq!(
                answer.head.get("location"),
                Some(wanted.as_str()),
                "{form:?} {to}"
            );
        }
        let already = format!("{prefix}/login");
        let answer = client
            .ask(tunnel.head(form, "GET", &format!("/?to={already}"), ""))
            .await;
        assert_eq!(
            answer.head.get("location"),
            Some(already.as_str()),
            "a prefix is added once"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_knows_its_prefix_redirects_by_itself() {
    let origin =
        Origin::answering(|_, _| response("302 Found", "Location: /demo/login\r\n", "")).await;
    let mut service = demo(&origin);
    service["prefix"] = json!("keep");
    let tunnel = Tunnel::with(&[service]);
    let answer = tunnel.ask(tunnel.get("/")).await;
    assert_eq!(answer.head.get("location"), Some("/demo/login"));
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_a_cluster_do_not_run_in_the_platforms_origin() {
    let fields = "Content-Type: text/html\r\nContent-Security-Policy: default-src *\r\n";
    let origin =
        Origin::answering(move |_, _| response("200 OK", fields, "<script></script>")).await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Path).await;
    let answer = client.ask(tunnel.head(Form::Path, "GET", "/", "")).await;
    let policies = answer.head.all("content-security-policy");
    assert!(policies.contains(&"sandbox"), "{policies:?}");
    assert_eq!(answer.head.get("x-content-type-options"), Some("nosniff"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_shared_cache_may_keep_a_clusters_answer() {
    let fields = "Cache-Control: public, max-age=60, s-maxage=600\r\n";
    let origin = Origin::answering(move |_, _| response("200 OK", fields, "")).await;
    let tunnel = Tunnel::to(&origin);
    let answer = tunnel.ask(tunnel.get("/")).await;
    let said = answer.head.get("cache-control").unwrap_or_default();
    assert!(
        said.contains("private") && said.contains("max-age=60"),
        "{said}"
    );
    assert!(
        !said.contains("public") && !said.contains("s-maxage"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_response_head_passes() {
    for (count, length) in [(200, 250), (10, 5_000)] {
        let fields: String = (0..count)
            .map(|n| format!("X-Field-{n}: {}\r\n", "v".repeat(length)))
            .collect();
        let origin = Origin::answering(move |_, _| response("200 OK", &fields, "body")).await;
        let tunnel = Tunnel::to(&origin);
        let answer = tunnel.ask(tunnel.get("/")).await;
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (200, "body"),
            "{count} fields of {length}"
        );
        let all = answer
            .head
            .fields
            .iter()
            .filter(|(name, value)| name.starts_with("x-field-") && value.len() == length);
        assert_eq!(all.count(), count);
    }
}
