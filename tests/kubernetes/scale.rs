//! Many watches, many objects.

use crate::{
    common::{
        DEADLINE, eventually,
        http::{Connection, Lines},
        kubectl::BULK_DEADLINE,
        sum::Sum,
    },
    env::{Env, Form, Role, Space, config_map, with},
};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::{sync::Barrier, task::JoinSet};

const WATCHES: usize = 200;
const PODS: usize = 2000;

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

/// Half of them by each address form.
#[test]
fn two_hundred_watches_while_requests_go_on() {
    with(|env| {
        let space = env.namespace("watches");
        space.admin.apply(&config_map("before", "a", "b"));
        block_on(watches(env, &space));
        let kubectl = space.kubectl(Role::Viewer, Form::Path);
        assert!(kubectl.ok("get configmaps -o name").contains("marker"));
    });
}

async fn watches(env: &'static Env, space: &Space) {
    let path = format!("/api/v1/namespaces/{}/configmaps", space.name);
    let forms = [Form::Path, Form::Host].map(|form| env.target(Role::Viewer, form));
    let all_open = Arc::new(Barrier::new(WATCHES + 1));
    let mut watching = JoinSet::new();
    for n in 0..WATCHES {
        let (target, path, all_open) = (forms[n % 2].clone(), path.clone(), Arc::clone(&all_open));
        watching.spawn(async move {
            let mut connection = target.connect().await;
            let response = connection
                .send(Method::GET, &format!("{path}?watch=1"), "")
                .await;
            assert_eq!(response.status(), StatusCode::OK);
            let mut lines = Lines::new(response);
            assert!(
                lines
                    .next()
                    .await
                    .expect("the first event")
                    .contains("\"ADDED\"")
            );
            all_open.wait().await;
            while !lines
                .next()
                .await
                .expect("a watch that goes on")
                .contains("\"marker\"")
            {}
        });
    }
    tokio::time::timeout(BULK_DEADLINE, all_open.wait())
        .await
        .expect("every watch shows what is there");
    requests_meanwhile(env, &path).await;
    let seen = tokio::time::timeout(BULK_DEADLINE, async {
        while let Some(one) = watching.join_next().await {
            one.expect("a watch sees the marker");
        }
    });
    seen.await.expect("every watch sees the marker");
}

/// Makes objects and reads them back; the last one is what the watches wait for.
async fn requests_meanwhile(env: &'static Env, path: &str) {
    let mut editor = env.target(Role::Editor, Form::Path).connect().await;
    let mut viewer = env.target(Role::Viewer, Form::Host).connect().await;
    for n in 0..50 {
        let body = config_map(&format!("other-{n}"), "a", "b").to_string();
        let (status, answer) = editor.whole(Method::POST, path, body).await;
        assert_eq!(
            status,
            StatusCode::CREATED,
            "{}",
            String::from_utf8_lossy(&answer)
        );
        let seen = viewer.get(&format!("{path}/other-{n}")).await;
        assert_eq!(seen["data"]["a"], "b");
    }
    let marker = config_map("marker", "a", "b").to_string();
    editor.whole(Method::POST, path, marker).await;
}

/// Pods that run in name only, made and listed through the tunnel.
#[test]
fn two_thousand_pods() {
    with(|env| {
        let space = env.namespace("pods");
        block_on(create_pods(env, &space.name));
        eventually("every pod to run", BULK_DEADLINE, || {
            let running = space
                .admin
                .ok("get pods --field-selector status.phase=Running -o name")
                .lines()
                .count();
            if running == PODS {
                Ok(())
            } else {
                Err(format!("{running} of {PODS}"))
            }
        });
        let pods = format!("/api/v1/namespaces/{}/pods", space.name);
        let first = space.admin.ok(&format!("get --raw {pods}?limit=1"));
        let first: Value = serde_json::from_str(&first).unwrap();
        let version = first["metadata"]["resourceVersion"].as_str().unwrap();
        let list = format!("get --raw {pods}?resourceVersion={version}&resourceVersionMatch=Exact");
        let directly = space.admin.ok(&list);
        let parsed: Value = serde_json::from_str(&directly).unwrap();
        assert_eq!(parsed["items"].as_array().unwrap().len(), PODS);
        for form in [Form::Path, Form::Host] {
            let kubectl = space.kubectl(Role::Viewer, form);
            let through = kubectl.ok(&list);
            let (got, expected) = (Sum::of(through.as_bytes()), Sum::of(directly.as_bytes()));
            assert_eq!(
                (got.len, got.hex()),
                (expected.len, expected.hex()),
                "{form:?}"
            );
            // In pages of 500, as kubectl does by itself.
            assert_eq!(
                kubectl.ok("get pods -o name"),
                space.admin.ok("get pods -o name"),
                "{form:?}"
            );
        }
    });
}

async fn create_pods(env: &'static Env, namespace: &str) {
    const AT_ONCE: usize = 8;
    let mut creating = JoinSet::new();
    for part in 0..AT_ONCE {
        let target = env.target(Role::Editor, [Form::Path, Form::Host][part % 2]);
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        creating.spawn(async move {
            let mut connection = target.connect().await;
            for n in (part..PODS).step_by(AT_ONCE) {
                create_pod(&mut connection, &path, n).await;
            }
        });
    }
    let all = tokio::time::timeout(BULK_DEADLINE, creating.join_all());
    all.await.expect("every pod created");
}

async fn create_pod(connection: &mut Connection, path: &str, n: usize) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("pod-{n:04}")},
        "spec": {"nodeName": "kwok-0", "containers": [{"name": "main", "image": "none"}]},
    });
    let created = tokio::time::timeout(
        DEADLINE,
        connection.whole(Method::POST, path, pod.to_string()),
    )
    .await;
    let (status, body) = created.expect("a pod created");
    assert_eq!(
        status,
        StatusCode::CREATED,
        "{}",
        String::from_utf8_lossy(&body)
    );
}
