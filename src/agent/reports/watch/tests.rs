//! Against an API server that says what a test has it say.

use std::sync::{Arc, Mutex};

use http::{Request, Response, StatusCode};
use kube::client::Body;
use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::agent::reports::cache::Cache;
use crate::agent::reports::core::Api as Answering;
use crate::agent::reports::meters::{Meters, Watched};
use crate::agent::reports::nodes::Nodes;
use crate::agent::reports::usage::measure;
use crate::agent::reports::warnings::Warnings;
use crate::metrics::Registry;
use crate::wire::control::UsageSource;

type Asked = Arc<Mutex<Vec<String>>>;

/// A client of a server that answers so; none is a request that is never answered.
fn client(
    answer: impl Fn(&str) -> Option<(u16, String)> + Clone + Send + 'static,
) -> (Client, Asked) {
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<Body>| {
        let uri = request.uri().to_string();
        let answered = answer(&uri);
        log.lock().unwrap().push(uri);
        async move {
            let Some((status, text)) = answered else {
                return std::future::pending().await;
            };
            let response = Response::builder().status(StatusCode::from_u16(status).unwrap());
            Ok::<_, tower::BoxError>(response.body(Body::from(text.into_bytes())).unwrap())
        }
    });
    (Client::new(service, "default"), asked)
}

fn status(code: u16) -> Option<(u16, String)> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": "x", "code": code});
    Some((code, status.to_string()))
}

fn node(name: &str) -> serde_json::Value {
    json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": name, "uid": name, "resourceVersion": "5"},
        "status": {"allocatable": {"cpu": "4", "memory": "1000"}, "conditions": [{"type": "Ready", "status": "True"}]}})
}

fn page(names: &[&str], next: &str) -> Option<(u16, String)> {
    let items: Vec<_> = names.iter().map(|name| node(name)).collect();
    let list = json!({"kind": "NodeList", "apiVersion": "v1", "metadata": {"resourceVersion": "7", "continue": next}, "items": items});
    Some((200, list.to_string()))
}

fn shared() -> Shared {
    let shared = Shared::new(Meters::new(&mut Registry::new("test")).unwrap().into());
    shared.core.borrow_mut().api = Answering::Answers;
    shared
}

/// Keeps the nodes until so many are seen, and all of the list.
async fn until(shared: &Shared, client: &Client, streaming: bool, nodes: usize) {
    let done = || {
        let core = shared.core.borrow();
        let all = core.nodes.is_listed() && core.nodes.count() == nodes;
        all && *core.seen(Watched::Nodes) == Seen::All
    };
    let seen = async {
        while !done() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        why = keep::<Nodes>(shared, client, streaming) => panic!("{why}"),
        () = seen => {}
    }
}

#[tokio::test(start_paused = true)]
async fn lists_are_streamed_where_the_server_does_and_paged_where_not() {
    let stream = |uri: &str| {
        let end = json!({"type": "BOOKMARK", "object": {"kind": "Node", "apiVersion": "v1", "metadata":
            {"resourceVersion": "9", "annotations": {"k8s.io/initial-events-end": "true"}}}});
        let added = json!({"type": "ADDED", "object": node("a")});
        uri.contains("sendInitialEvents=true")
            .then(|| (200, format!("{added}\n{end}\n")))
    };
    let (server, _) = client(stream);
    until(&shared(), &server, true, 1).await;

    let paged = |uri: &str| match uri {
        uri if uri.contains("sendInitialEvents") => status(422),
        uri if uri.contains("watch=true") => None,
        uri if uri.contains("continue=more") => page(&["b"], ""),
        _ => page(&["a"], "more"),
    };
    let (server, asked) = client(paged);
    let shared = shared();
    until(&shared, &server, true, 2).await;
    let asked = asked.lock().unwrap();
    assert!(
        asked.iter().any(|uri| uri.contains("limit=500")),
        "{asked:?}"
    );
    assert_eq!(
        shared
            .core
            .borrow()
            .meters
            .failures
            .get(Watched::Nodes)
            .get(),
        0
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_knows_the_word_and_does_not_stream_is_asked_for_pages() {
    let mute = |uri: &str| match uri {
        uri if uri.contains("watch=true") => None,
        _ => page(&["a"], ""),
    };
    let (server, _) = client(mute);
    let begun = Instant::now();
    until(&shared(), &server, true, 1).await;
    assert!(begun.elapsed() >= LIST_SILENCE);
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_forgotten_is_listed_again() {
    for (code, body) in [
        (410, status(410)),
        (
            200,
            status(410)
                .map(|(_, text)| (200, format!("{{\"type\":\"ERROR\",\"object\":{text}}}\n"))),
        ),
    ] {
        let lists = Arc::new(Mutex::new(0));
        let (server, _) = client(move |uri: &str| {
            let mut lists = lists.lock().unwrap();
            if uri.contains("watch=true") {
                return if *lists == 1 { body.clone() } else { None };
            }
            *lists += 1;
            if *lists == 1 {
                page(&["a"], "")
            } else {
                page(&["b", "c"], "")
            }
        });
        let shared = shared();
        until(&shared, &server, false, 2).await;
        let events = shared.core.borrow_mut().queue.take(9, Instant::now());
        let told: Vec<_> = events
            .iter()
            .map(|event| (event.event_type.as_str(), event.resource.as_str()))
            .collect();
        let expected = [
            ("node_created", "b"),
            ("node_ready", "b"),
            ("node_created", "c"),
            ("node_ready", "c"),
            ("node_deleted", "a"),
        ];
        assert_eq!(told, expected, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_allowed_is_told_and_tried_again_and_a_bad_account_ends_it() {
    let allowed = Arc::new(Mutex::new(false));
    let grant = Arc::clone(&allowed);
    let (server, asked) = client(move |uri: &str| match *allowed.lock().unwrap() {
        false => status(403),
        true if uri.contains("watch=true") => None,
        true => page(&[], ""),
    });
    let shared = shared();
    let refused = timeout(
        Duration::from_secs(200),
        keep::<Warnings>(&shared, &server, true),
    )
    .await;
    assert!(refused.is_err());
    assert!(asked.lock().unwrap().len() <= 5);
    let failing = matches!(shared.core.borrow().seen(Watched::Events), Seen::Failing(why) if why.contains("right"));
    assert!(failing);
    *grant.lock().unwrap() = true;
    let granted = timeout(
        Duration::from_secs(100),
        keep::<Warnings>(&shared, &server, false),
    )
    .await;
    assert!(granted.is_err());
    assert_eq!(*shared.core.borrow().seen(Watched::Events), Seen::All);
    assert!(
        asked
            .lock()
            .unwrap()
            .iter()
            .all(|uri| uri.contains("fieldSelector=type%3DWarning"))
    );

    let (server, _) = client(|_: &str| status(401));
    let why = keep::<Nodes>(&shared, &server, false).await;
    assert!(why.contains("no"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn what_nodes_measured_comes_before_what_pods_request() {
    let (server, _) = client(|uri: &str| {
        match uri {
        uri if uri.contains("metrics.k8s.io") && uri.contains("continue=more") => {
            Some((200, json!({"kind": "NodeMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": [
                {"metadata": {"name": "b"}, "usage": {"cpu": "1", "memory": "500"}}, {"metadata": {"name": "unknown"}, "usage": {"cpu": "9", "memory": "9"}}]}).to_string()))
        }
        uri if uri.contains("metrics.k8s.io") => {
            Some((200, json!({"kind": "NodeMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {"continue": "more"}, "items": [
                {"metadata": {"name": "a"}, "usage": {"cpu": "1000000000n", "memory": "1500"}}]}).to_string()))
        }
        uri if uri.contains("watch=true") => None,
        _ => page(&["a", "b"], ""),
    }
    });
    let shared = shared();
    until(&shared, &server, false, 2).await;
    let now = Instant::now;
    let answer = measure(&server).await;
    shared.core.borrow_mut().measured(answer, now());
    let usage = shared.core.borrow().usage();
    assert_eq!(usage.source, Some(UsageSource::Measured));
    let shares = (usage.metrics["cpu_usage"], usage.metrics["memory_usage"]);
    assert_eq!(shares, (0.25, 1.0));

    let (server, _) = client(|_: &str| status(404));
    let answer = measure(&server).await;
    let mut core = shared.core.borrow_mut();
    core.measured(answer, now());
    assert_eq!(
        core.usage().source,
        None,
        "no pods are listed, so that nothing is known"
    );
    core.learn::<crate::agent::reports::pods::Pods>(News::Complete, now());
    assert_eq!(core.usage().source, Some(UsageSource::Requested));
}
