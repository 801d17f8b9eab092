//! Looking, as a viewer.

use crate::{
    common::http::Target,
    env::{Env, Form, Role, config_map},
};
use http::Method;
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::TcpStream,
};

by_both_forms!(
    version,
    get_equals_what_the_server_says,
    a_viewer_sees_the_whole_cluster
);
by_both_forms!(
    watch_sees_an_object_created_later,
    escapes_in_a_query_arrive,
    kubectl_proxy,
    a_missing_object
);

fn version(env: &'static Env, form: Form) {
    let through = env.kubectl(Role::Viewer, form).json("version");
    let directly = env.cluster.admin.json("version");
    assert_eq!(through["serverVersion"], directly["serverVersion"]);
    assert!(through["serverVersion"]["gitVersion"].is_string());
}

fn get_equals_what_the_server_says(env: &'static Env, form: Form) {
    let space = env.namespace("get");
    space.admin.apply(&config_map(
        "sentence",
        "text",
        "Grüße, \u{1f980} & <tags>\n\ttabs",
    ));
    let through = space.kubectl(Role::Viewer, form);
    assert_eq!(
        through.ok("get configmap sentence -o json"),
        space.admin.ok("get configmap sentence -o json")
    );
    assert_eq!(
        through.ok("get configmaps -o name"),
        space.admin.ok("get configmaps -o name")
    );
}

fn a_viewer_sees_the_whole_cluster(env: &'static Env, form: Form) {
    let kubectl = env.kubectl(Role::Viewer, form);
    let kinds = "nodes,persistentvolumes,storageclasses,ingressclasses,priorityclasses,customresourcedefinitions";
    let cluster_wide = kubectl.ok(&format!("get {kinds},namespaces -o name"));
    for one in [
        "node/real-0",
        "namespace/pipeops-system",
        "priorityclass",
        "customresourcedefinition",
    ] {
        assert!(cluster_wide.contains(one), "no {one} in {cluster_wide}");
    }
    kubectl.ok("get pods --all-namespaces");
    assert!(kubectl.ok("api-resources").contains("deployments"));
    assert!(kubectl.ok("describe node real-0").contains("Capacity"));
}

fn watch_sees_an_object_created_later(env: &'static Env, form: Form) {
    let space = env.namespace("watch");
    space.admin.apply(&config_map("before", "a", "b"));
    let kubectl = space.kubectl(Role::Viewer, form);
    let mut watch = kubectl.spawn("get configmaps --watch --output-watch-events");
    watch.wait_text("before");
    for n in 0..3 {
        let name = format!("later-{n}");
        space.admin.apply(&config_map(&name, "a", "b"));
        let line = watch.wait_text(&name);
        assert!(line.starts_with("ADDED"), "{line}");
    }
    space.admin.ok("delete configmap later-1");
    watch.wait_line("DELETED later-1", |l| {
        (l.starts_with("DELETED") && l.contains("later-1")).then_some(())
    });
}

fn escapes_in_a_query_arrive(env: &'static Env, form: Form) {
    let space = env.namespace("escape");
    for (name, app) in [("one", "a"), ("two", "b"), ("three", "c")] {
        space.admin.apply(&config_map(name, "a", "b"));
        space.admin.ok(&format!("label configmap {name} app={app}"));
    }
    let kubectl = space.kubectl(Role::Viewer, form);
    let some = kubectl.ok(&["get", "configmaps", "-l", "app in (a, c)", "-o", "name"]);
    assert_eq!(some, "configmap/one\nconfigmap/three\n");
    // What Kubernetes makes of an escaped slash is its own affair.
    let kubectl = space.kubectl(Role::Admin, form);
    let odd = format!(
        "get --raw /api/v1/namespaces/{}/configmaps/one%2Ftwo?pretty=%74rue",
        space.name
    );
    assert_eq!(kubectl.fails(&odd), space.admin.fails(&odd));
}

fn kubectl_proxy(env: &'static Env, form: Form) {
    let space = env.namespace("proxy");
    space.admin.apply(&config_map("proxied", "a", "b"));
    let mut proxy = space
        .kubectl(Role::Viewer, form)
        .spawn("proxy --port=0 --append-server-path");
    let serving = proxy.wait_text("Starting to serve on");
    let addr = serving.rsplit(' ').next().unwrap();
    let path = format!("/api/v1/namespaces/{}/configmaps/proxied", space.name);
    for _ in 0..3 {
        let mut tcp = TcpStream::connect(addr).unwrap();
        tcp.set_read_timeout(Some(crate::common::DEADLINE)).unwrap();
        write!(
            tcp,
            "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 200"),
            "{answer}\n{}",
            proxy.tail()
        );
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["data"]["a"], "b");
    }
}

fn a_missing_object(env: &'static Env, form: Form) {
    let space = env.namespace("missing");
    let kubectl = space.kubectl(Role::Viewer, form);
    assert_eq!(
        kubectl.fails("get configmap nothing").trim(),
        r#"Error from server (NotFound): configmaps "nothing" not found"#
    );
    // HEAD is a GET without a body, whatever length it states.
    let target: Target = env.target(Role::Viewer, form);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut connection = target.connect().await;
        for _ in 0..3 {
            let (status, body) = connection.whole(Method::HEAD, "/version", "").await;
            assert!(
                body.is_empty() && status.as_u16() < 500,
                "HEAD /version: {status}"
            );
        }
        connection.get("/version").await;
    });
}
