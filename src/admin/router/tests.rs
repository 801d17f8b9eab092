use std::sync::Mutex;

use http_body_util::BodyExt;
use prometheus::proto::MetricFamily;
use serde_json::{Value, json};

use super::*;
use crate::admin::{AdminConfig, Component, Failing};
use crate::config::Secret;

const NEAR: &str = "127.0.0.1";
const FAR: &str = "203.0.113.7";

#[derive(Default)]
struct Fake {
    failing: Mutex<Option<Failing>>,
    broken: bool,
}

impl Program for Fake {
    fn checks(&self) -> Vec<Check> {
        vec![Check::new("tunnel", self.failing.lock().unwrap().clone())]
    }

    fn components(&self) -> Vec<Component> {
        Vec::new()
    }

    fn info(&self) -> serde_json::Result<Vec<u8>> {
        if self.broken {
            return serde_json::from_str::<()>("canary").map(|()| Vec::new());
        }
        serde_json::to_vec(&Build::THIS)
    }

    fn config(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&json!({"token": Secret::new("canary")}))
    }

    fn admin(&self) -> AdminConfig {
        AdminConfig::at(0)
    }

    fn metrics(&self) -> Vec<MetricFamily> {
        let gauge = prometheus::IntGauge::new("up", "Whether it runs").unwrap();
        gauge.set(1);
        prometheus::core::Collector::collect(&gauge)
    }
}

fn router(token: Option<&str>) -> Router {
    let mut config = AdminConfig::at(0);
    config.token = token.map(Secret::new);
    let access = Access::new(&config).unwrap();
    Router::new(Arc::new(Fake::default()), Watchdog::default(), access)
}

fn request(method: Method, uri: &str) -> Request<()> {
    Request::builder().method(method).uri(uri).body(()).unwrap()
}

fn ask(router: &Router, peer: &str, uri: &str) -> Response<Full<Bytes>> {
    let door = if uri.starts_with("/metrics") {
        Door::Metrics
    } else {
        Door::Admin
    };
    router.answer(door, peer.parse().unwrap(), &request(Method::GET, uri))
}

async fn text(response: Response<Full<Bytes>>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

async fn code(response: Response<Full<Bytes>>) -> String {
    let body: Value = serde_json::from_str(&text(response).await).unwrap();
    body["error"]["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn aliases_answer_as_what_they_stand_for() {
    let router = router(None);
    for (alias, probe) in [("/health", "healthz"), ("/ready", "readyz")] {
        let answer = ask(&router, FAR, &format!("{alias}?verbose"));
        assert!(
            text(answer)
                .await
                .ends_with(&format!("{probe} check passed\n"))
        );
    }
    let version = ask(&router, FAR, "/version");
    assert_eq!(version.status(), StatusCode::OK);
    let version: Value = serde_json::from_str(&text(version).await).unwrap();
    assert_eq!(version["version"], build_info::VERSION);
}

#[tokio::test]
async fn verbose_is_text_with_any_value() {
    let router = router(None);
    for query in ["verbose", "verbose=", "verbose=true", "a=b&verbose"] {
        let answer = ask(&router, FAR, &format!("/readyz?{query}"));
        assert_eq!(answer.headers()[header::CONTENT_TYPE], TEXT);
        assert_eq!(text(answer).await, "[+]tunnel ok\nreadyz check passed\n");
    }
    for query in ["", "verbosely", "x=verbose"] {
        let answer = ask(&router, FAR, &format!("/readyz?{query}"));
        assert_eq!(answer.headers()[header::CONTENT_TYPE], JSON);
    }
}

#[tokio::test]
async fn a_failing_check_makes_readiness_503_and_liveness_not() {
    let router = router(None);
    let fake = Fake::default();
    *fake.failing.lock().unwrap() = Some(Failing::new("no carrier", Timestamp::now()));
    let router = Router {
        program: Arc::new(fake),
        ..router
    };
    let status = |path| ask(&router, FAR, path).status();
    assert_eq!(status("/readyz"), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(status("/readyz?verbose"), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(status("/healthz"), StatusCode::OK);
    assert_eq!(status("/livez"), StatusCode::OK);
}

#[tokio::test]
async fn each_door_has_its_own_paths_and_methods() {
    let router = router(None);
    let near = NEAR.parse().unwrap();
    for (door, path) in [
        (Door::Admin, "/"),
        (Door::Admin, "/metrics"),
        (Door::Admin, "/healthz/"),
        (Door::Admin, "/healthz%20"),
        (Door::Metrics, "/healthz"),
        (Door::Metrics, "/config"),
    ] {
        let answer = router.answer(door, near, &request(Method::GET, path));
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(code(answer).await, "NOT_FOUND");
    }
    for method in [Method::POST, Method::DELETE, Method::OPTIONS, Method::TRACE] {
        let answer = router.answer(Door::Admin, near, &request(method, "/readyz"));
        assert_eq!(answer.headers()[header::ALLOW], "GET, HEAD");
        assert_eq!(code(answer).await, "METHOD_NOT_ALLOWED");
    }
}

#[tokio::test]
async fn info_and_config_are_not_for_everybody() {
    let open = router(None);
    for path in ["/info", "/config"] {
        assert_eq!(ask(&open, NEAR, path).status(), StatusCode::OK);
        assert_eq!(code(ask(&open, FAR, path)).await, "FORBIDDEN");
    }
    let closed = router(Some("canary"));
    for path in ["/info", "/config"] {
        let answer = ask(&closed, NEAR, path);
        assert_eq!(answer.headers()[header::WWW_AUTHENTICATE], "Bearer");
        assert_eq!(code(answer).await, "UNAUTHORIZED");
        let mut asked = request(Method::GET, path);
        let bearer = HeaderValue::from_static("Bearer canary");
        asked.headers_mut().insert(header::AUTHORIZATION, bearer);
        let answer = closed.answer(Door::Admin, FAR.parse().unwrap(), &asked);
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(!text(answer).await.contains("canary"));
    }
}

#[tokio::test]
async fn what_can_not_be_written_is_500_and_says_nothing() {
    let router = Router {
        program: Arc::new(Fake {
            broken: true,
            ..Fake::default()
        }),
        ..router(None)
    };
    let answer = text(ask(&router, NEAR, "/info")).await;
    assert!(answer.contains("INTERNAL_ERROR"), "{answer}");
    assert!(
        !answer.contains("canary") && !answer.contains("expected"),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_limits_of_the_reference_hold() {
    for (path, limit, burst) in [
        ("/info", 60, 10),
        ("/version", 60, 10),
        ("/config", 10, 5),
        ("/metrics", 60, 10),
    ] {
        let router = router(None);
        for left in (0..burst).rev() {
            let answer = ask(&router, NEAR, path);
            let headers = answer.headers();
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            assert_eq!(headers["x-ratelimit-limit"], limit.to_string().as_str());
            assert_eq!(headers["x-ratelimit-remaining"], left.to_string().as_str());
            assert!(!headers.contains_key(header::RETRY_AFTER));
        }
        let refused = ask(&router, NEAR, path);
        let every = 60 / limit;
        let reset: i64 = refused.headers()["x-ratelimit-reset"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        let full = Timestamp::now().as_second() + i64::from(burst * every);
        assert!(
            (full - 1..=full + 1).contains(&reset),
            "{path}: {reset} {full}"
        );
        assert_eq!(
            refused.headers()[header::RETRY_AFTER],
            every.to_string().as_str()
        );
        assert_eq!(refused.headers()["x-ratelimit-remaining"], "0");
        assert_eq!(code(refused).await, "TOO_MANY_REQUESTS");
        // Another machine is none the worse, and neither is a probe.
        assert_ne!(
            ask(&router, "10.0.0.1", path).status(),
            StatusCode::TOO_MANY_REQUESTS
        );
        assert_eq!(ask(&router, NEAR, "/readyz").status(), StatusCode::OK);
        tokio::time::advance(std::time::Duration::from_secs(
            u64::try_from(every).unwrap(),
        ))
        .await;
        assert_eq!(ask(&router, NEAR, path).status(), StatusCode::OK);
        assert_eq!(
            ask(&router, NEAR, path).status(),
            StatusCode::TOO_MANY_REQUESTS
        );
    }
}

#[tokio::test(start_paused = true)]
async fn guesses_at_the_token_are_limited_and_its_owner_is_not() {
    let router = router(Some("canary"));
    let mut asked = request(Method::GET, "/config");
    for _ in 0..5 {
        assert_eq!(code(ask(&router, NEAR, "/config")).await, "UNAUTHORIZED");
    }
    let refused = ask(&router, NEAR, "/config");
    assert_eq!(code(refused).await, "TOO_MANY_REQUESTS");
    let bearer = HeaderValue::from_static("Bearer canary");
    asked.headers_mut().insert(header::AUTHORIZATION, bearer);
    let answer = router.answer(Door::Admin, NEAR.parse().unwrap(), &asked);
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn metrics_are_written_as_the_client_wants_them() {
    let open = "application/openmetrics-text";
    for (accept, kind, end) in [
        (
            "*/*",
            "text/plain; version=0.0.4; charset=utf-8",
            "\nup 1\n",
        ),
        (
            open,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            "\nup 1\n# EOF\n",
        ),
    ] {
        let mut request = Request::get("/metrics").body(()).unwrap();
        let accept = HeaderValue::from_static(accept);
        request.headers_mut().insert(header::ACCEPT, accept);
        let answer = router(None).answer(Door::Metrics, FAR.parse().unwrap(), &request);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], kind);
        assert!(text(answer).await.ends_with(end));
    }
}
