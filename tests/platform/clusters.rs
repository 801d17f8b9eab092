//! Clusters: registered, listed, changed, removed.

use crate::common::{DEADLINE, agent::AgentConfig, api::Api, eventually, gateway::Gateway};
use serde_json::json;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
};

#[test]
fn a_cluster_is_enrolled_by_its_name() {
    let gateway = Gateway::start();
    let api = Api::operator(&gateway);
    let made = api
        .post(
            "/v1/clusters",
            &json!({"name": "production-cluster", "id": "cls-123abc"}),
        )
        .expect(201);
    assert_eq!(
        (&made["name"], &made["id"], &made["status"]),
        (
            &json!("production-cluster"),
            &json!("cls-123abc"),
            &json!("disconnected")
        )
    );
    let token = made["agent_token"].as_str().unwrap();
    assert!(token.starts_with("pipeops_agent_"));
    let install = made["install"]["binary"].as_str().unwrap();
    assert!(
        install.contains(&gateway.addr.port().to_string()) && !install.contains(token),
        "{install}"
    );
    let got = api.get("/v1/clusters/production-cluster").expect(200);
    assert_eq!(got["id"], "cls-123abc");
    assert_eq!(got.get("agent_token"), None, "it is shown once");

    let again = api.post("/v1/clusters", &json!({"name": "production-cluster"}));
    assert_eq!(again.refused(409), "CONFLICT");
    let bad = api
        .post("/v1/clusters", &json!({"name": "Not A Name"}))
        .expect(400);
    // The contract's own example of an error.
    assert_eq!(
        bad,
        json!({"error": {"code": "INVALID_REQUEST", "message": "Invalid cluster name",
            "details": {"field": "cluster_name", "reason": "must match pattern ^[a-z0-9-]+$"}}})
    );
    assert_eq!(api.get("/v1/clusters/nope").refused(404), "CLUSTER_UNKNOWN");
}

#[test]
fn lists_go_on_from_a_cursor_and_are_not_sent_twice() {
    let gateway = Gateway::start();
    let api = Api::operator(&gateway);
    for name in ["a", "b", "c"] {
        api.post("/v1/clusters", &json!({"name": name})).expect(201);
    }
    let first = api.get("/v1/clusters?limit=2").expect(200);
    assert_eq!(first["next_cursor"], "b");
    let rest = api.get("/v1/clusters?limit=2&cursor=b").expect(200);
    assert_eq!(
        (&rest["items"][0]["name"], &rest["next_cursor"]),
        (&json!("c"), &json!(null))
    );
    let answer = api.get("/v1/clusters/a");
    let tag = answer.field("etag").expect("a tag").to_owned();
    let same = api.call(&["-H", &format!("If-None-Match: {tag}")], "/v1/clusters/a");
    assert_eq!((same.status, same.text.as_str()), (304, ""));
    api.send("PATCH", "/v1/clusters/a", &json!({"description": "x"}))
        .expect(200);
    assert_eq!(
        api.call(&["-H", &format!("If-None-Match: {tag}")], "/v1/clusters/a")
            .status,
        200
    );
    assert_eq!(
        api.get("/v1/clusters?limit=x").refused(400),
        "INVALID_REQUEST"
    );
}

#[test]
fn what_is_said_about_a_cluster_outlives_a_restart() {
    let mut gateway = Gateway::start();
    let api = Api::operator(&gateway);
    api.post("/v1/clusters", &json!({"name": "one"}))
        .expect(201);
    let change = json!({"description": "the first", "labels": {"region": "eu"}});
    api.send("PATCH", "/v1/clusters/one", &change).expect(200);
    assert_eq!(
        api.send("PATCH", "/v1/clusters/one", &json!({"name": "two"}))
            .refused(400),
        "INVALID_REQUEST"
    );
    let long = json!({"description": "x".repeat(501)});
    assert_eq!(
        api.send("PATCH", "/v1/clusters/one", &long).refused(400),
        "INVALID_REQUEST"
    );
    gateway.process.signal("KILL");
    gateway.process.wait_exit(DEADLINE);
    gateway.restart();
    let got = api.get("/v1/clusters/one").expect(200);
    assert_eq!(
        (&got["description"], &got["labels"]),
        (&change["description"], &change["labels"])
    );
}

#[test]
fn without_an_agent_nothing_is_begun() {
    let gateway = Gateway::start();
    let api = Api::operator(&gateway);
    api.post("/v1/clusters", &json!({"name": "one"}))
        .expect(201);
    let deployment = json!({"project_id": "p", "manifest": "x", "namespace": "default"});
    let answer = api.post("/v1/clusters/one/deploy", &deployment);
    assert!(answer.field("retry-after").is_some(), "{answer:?}");
    assert_eq!(answer.refused(503), "AGENT_NOT_CONNECTED");
    assert_eq!(
        api.get("/v1/clusters/one/deployments").expect(200)["items"],
        json!([])
    );
    assert_eq!(
        api.get("/v1/clusters/one/deployments/nope").refused(400),
        "INVALID_REQUEST"
    );
}

/// A service that takes a body of 300 bytes and answers with 1000.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            while stream.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            stream.read_exact(&mut [0; 300]).unwrap();
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n";
            let answer = [head.as_bytes(), &[b'x'; 1000]].concat();
            stream.get_mut().write_all(&answer).unwrap();
        }
    });
    addr
}

#[test]
fn what_goes_through_the_tunnel_is_told_of_its_cluster() {
    let gateway = Gateway::start();
    let api = Api::operator(&gateway);
    for name in ["one", "other"] {
        api.post("/v1/clusters", &json!({"name": name, "id": name}))
            .expect(201);
    }
    let service = json!({"name": "files", "local_addr": origin(), "protocol": "http"});
    let _agent = AgentConfig::new(&gateway, "one", "one")
        .forward(service)
        .start();
    let body = "y".repeat(300);
    for _ in 0..2 {
        let answer = api.call(&["-d", &body], "/v1/clusters/one/tunnel/files/");
        assert_eq!((answer.status, answer.text.len()), (200, 1000));
    }
    // A request has ended for the client a moment before it has for the gateway.
    eventually("the figures", DEADLINE, || {
        let traffic = &api.get("/v1/clusters/one").expect(200)["traffic"];
        let all = json!({"bytes_sent": 600, "bytes_received": 2000, "requests": 2, "streams": 0});
        if *traffic == all {
            Ok(())
        } else {
            Err(traffic.to_string())
        }
    });
    let other = api.get("/v1/clusters/other").expect(200);
    assert_eq!(other["traffic"]["requests"], 0);
}
