use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Response;
use kube::client::Body;
use serde_json::json;

use super::*;

fn conflict(managers: &[&str]) -> Status {
    let causes: Vec<_> = managers
        .iter()
        .map(|manager| {
            json!({"reason": "FieldManagerConflict", "field": ".spec.replicas",
                "message": format!("conflict with \"{manager}\" with subresource \"scale\" using apps/v1")})
        })
        .collect();
    serde_json::from_value(
        json!({"code": 409, "message": "Apply failed with 1 conflict",
        "reason": "Conflict", "details": {"causes": causes}}),
    )
    .unwrap()
}

#[test]
fn only_what_was_set_by_hand_is_taken() {
    assert!(may_take(&conflict(&[
        "kubectl-client-side-apply",
        "kubectl"
    ])));
    assert!(!may_take(&conflict(&[
        "kubectl-edit",
        "kube-controller-manager"
    ])));
    assert!(!may_take(&conflict(&[])));
    assert!(!may_take(&conflict(&["helm"])));
    assert!(!raced(&conflict(&["helm"])) && raced(&conflict(&[])));
}

#[test]
fn a_conflict_names_the_field() {
    let fault = Fault::status(&conflict(&["helm"]));
    assert_eq!(fault.error().details["field"], ".spec.replicas");
    assert_eq!(fault.code, ErrorCode::Conflict);
}

#[test]
fn what_may_pass_is_tried_again() {
    let status = |code| Status::failure("x", "y").with_code(code);
    for code in [429, 500, 503, 504] {
        assert!(passes(&status(code)), "{code}");
    }
    for code in [400, 401, 403, 404, 409, 413, 422] {
        assert!(!passes(&status(code)), "{code}");
    }
}

/// A cluster that answers with these codes one after the other, where 0 is a connection that breaks off; then well.
fn cluster(codes: &'static [u16]) -> (Client, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let service = tower::service_fn(move |_: Request<Body>| {
        let code = codes.get(count.fetch_add(1, Ordering::Relaxed)).copied();
        async move {
            let status = json!({"kind": "Status", "code": code, "message": "no", "details": {"retryAfterSeconds": 3}});
            let answer = |code: u16, body: Value| {
                let answer = Response::builder().status(code);
                Ok(answer
                    .body(Body::from(body.to_string().into_bytes()))
                    .unwrap())
            };
            match code {
                Some(0) => Err(std::io::Error::other("broken off")),
                Some(code) => answer(code, status),
                None => answer(200, json!({"kind": "ConfigMap"})),
            }
        }
    });
    (Client::new(service, "default"), asked)
}

async fn look_up(client: &Client, limit: Duration) -> Result<Option<Value>, CallError> {
    let cancel = CancellationToken::new();
    let calls = Calls::new(client, &cancel, limit);
    calls.look_up("/api/v1").await
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_comes_back_is_waited_for() {
    let (client, asked) = cluster(&[429, 503, 0, 500]);
    let began = Instant::now();
    let found = look_up(&client, Duration::from_secs(60)).await.unwrap();
    assert_eq!(found.unwrap()["kind"], "ConfigMap");
    assert_eq!(asked.load(Ordering::Relaxed), 5);
    // Three answers say how long to wait, and one does not.
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn there_is_an_end_to_trying() {
    let (client, asked) = cluster(&[0; 99]);
    let error = look_up(&client, Duration::from_secs(60)).await.unwrap_err();
    assert!(
        matches!(&error, CallError::Lost(why) if why.contains("broken off")),
        "{error:?}"
    );
    assert_eq!(asked.load(Ordering::Relaxed), WAITS.len() + 1);
    let error = look_up(&client, Duration::from_secs(1)).await.unwrap_err();
    assert!(
        matches!(error, CallError::Stopped(Stop::TimedOut)),
        "{error:?}"
    );
    let (client, asked) = cluster(&[403, 0]);
    let error = look_up(&client, Duration::from_secs(60)).await.unwrap_err();
    assert_eq!(error.code(), Some(403));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}
