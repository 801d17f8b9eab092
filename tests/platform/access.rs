//! Who may do what, how often, and where it is written down.
#![allow(clippy::too_many_lines, reason = "one story each")]

use crate::common::{DEADLINE, api::Api, gateway::Gateway};
use serde_json::{Value, json};

#[test]
fn a_token_is_needed_and_its_scopes_are_what_it_may() {
    let gateway = Gateway::start();
    let operator = Api::operator(&gateway);
    operator
        .post("/v1/clusters", &json!({"name": "one"}))
        .expect(201);
    operator
        .post("/v1/clusters", &json!({"name": "two"}))
        .expect(201);

    let nobody = Api::with_token(&gateway, "nonsense");
    assert_eq!(nobody.get("/v1/clusters").refused(401), "UNAUTHORIZED");

    let reader = Api::with_token(
        &gateway,
        &gateway.user_token("r@example.com", "viewer", "one", "read"),
    );
    let listed = reader.get("/v1/clusters").expect(200);
    let names: Vec<&str> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["one"], "only the token's own clusters");
    reader.get("/v1/clusters/one").expect(200);
    // Whether another cluster exists is not told.
    assert_eq!(reader.get("/v1/clusters/two").refused(403), "FORBIDDEN");
    assert_eq!(reader.get("/v1/clusters/three").refused(403), "FORBIDDEN");
    for (method, path) in [("POST", "/v1/clusters"), ("POST", "/v1/tokens")] {
        assert_eq!(
            reader.send(method, path, &json!({})).refused(403),
            "SCOPE_MISSING",
            "{path}"
        );
    }
    for path in ["/v1/tokens", "/v1/audit", "/v1/clusters/one/logs?pod=a"] {
        assert_eq!(reader.get(path).refused(403), "SCOPE_MISSING", "{path}");
    }
    assert_eq!(
        reader
            .post("/v1/clusters/one/deploy", &json!({}))
            .refused(403),
        "SCOPE_MISSING"
    );
    assert_eq!(
        reader.delete("/v1/clusters/one").refused(403),
        "SCOPE_MISSING"
    );

    let agent = Api::with_token(
        &gateway,
        &gateway.agent_token("one", listed["items"][0]["id"].as_str().unwrap()),
    );
    assert_eq!(agent.get("/v1/clusters").refused(403), "FORBIDDEN");
    gateway.revoke("r@example.com");
    assert_eq!(reader.get("/v1/clusters").refused(401), "UNAUTHORIZED");
}

#[test]
fn the_platforms_own_service_is_not_reached_by_a_tunnel() {
    let gateway = Gateway::start();
    let operator = Api::operator(&gateway);
    operator
        .post("/v1/clusters", &json!({"name": "one"}))
        .expect(201);
    let path = "/v1/clusters/one/tunnel/commands/api/v1/namespaces/a/pods/b/log";
    assert_eq!(operator.get(path).refused(404), "SERVICE_UNKNOWN");
}

#[test]
fn rates_are_told_and_kept() {
    let gateway = Gateway::start_with(|config| config["threads"] = json!(1));
    let operator = Api::operator(&gateway);
    let answer = operator.get("/v1/clusters");
    assert_eq!(answer.field("x-ratelimit-limit"), Some("600"));
    assert_eq!(answer.field("x-ratelimit-remaining"), Some("99"));
    assert!(answer.field("x-ratelimit-reset").is_some());
    assert!(answer.field("x-request-id").is_some());
    // More at once than are let through, on one connection.
    let many = vec!["/v1/clusters"; 150]
        .iter()
        .map(|path| format!("{}{path}", operator.url))
        .collect::<Vec<_>>();
    let urls: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut args = vec!["--write-out", "%{http_code} %header{retry-after}\n"];
    for url in &urls {
        args.extend(["--output", "/dev/null", url]);
    }
    args.extend(["--output", "/dev/null"]);
    let out = operator.command(&args, "/v1/clusters").output().unwrap();
    let codes = String::from_utf8(out.stdout).unwrap();
    let refused: Vec<&str> = codes
        .lines()
        .filter(|line| line.starts_with("429"))
        .collect();
    assert!(!refused.is_empty() && refused.len() < 80, "{codes}");
    assert!(
        refused.iter().all(|line| line.len() > 4),
        "with Retry-After: {refused:?}"
    );
}

#[test]
fn every_change_is_in_the_audit_log_and_what_only_looks_is_not() {
    let mut gateway = Gateway::start();
    let operator = Api::operator(&gateway);
    operator
        .post("/v1/clusters", &json!({"name": "one"}))
        .expect(201);
    operator.get("/v1/clusters").expect(200);
    operator
        .send(
            "PATCH",
            "/v1/clusters/one",
            &json!({"description": "first"}),
        )
        .expect(200);
    let made = operator.post(
        "/v1/tokens",
        &json!({"kind": "user", "subject": "r@example.com", "role": "viewer", "clusters": ["one"], "scopes": ["read"], "expires_at": null}),
    );
    let made = made.expect(201);
    let reader = Api::with_token(&gateway, made["token"].as_str().unwrap());
    assert_eq!(
        reader.delete("/v1/clusters/one").refused(403),
        "SCOPE_MISSING"
    );
    operator
        .delete(&format!("/v1/tokens/{}", made["id"].as_str().unwrap()))
        .expect(200);
    operator.delete("/v1/clusters/one").expect(204);

    let entries = |api: &Api, query: &str| {
        let page = api.get(&format!("/v1/audit{query}")).expect(200);
        let items = page["items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|e| (text(e, "action"), text(e, "subject"), text(e, "outcome")))
            .collect::<Vec<_>>()
    };
    let (op, reader) = ("op@example.com".to_owned(), "r@example.com".to_owned());
    let done = |action: &str, who: &String, outcome: &str| {
        (action.to_owned(), who.clone(), outcome.to_owned())
    };
    let expected = [
        done("cluster.delete", &op, "allowed"),
        done("token.revoke", &op, "allowed"),
        done("cluster.delete", &reader, "refused"),
        done("token.create", &op, "allowed"),
        done("cluster.update", &op, "allowed"),
        done("cluster.create", &op, "allowed"),
    ];
    assert_eq!(entries(&operator, ""), expected);
    assert_eq!(entries(&operator, "?subject=r@example.com"), expected[2..3]);
    let page = operator.get("/v1/audit?limit=2").expect(200);
    let next = text(&page, "next_cursor");
    assert_eq!(
        entries(&operator, &format!("?limit=2&cursor={next}")),
        expected[2..4]
    );
    assert!(
        !gateway
            .tail()
            .to_string()
            .contains(made["token"].as_str().unwrap()),
        "no token in the log"
    );
    gateway.process.signal("TERM");
    gateway.process.wait_exit(DEADLINE);
    gateway.restart();
    assert_eq!(entries(&operator, ""), expected, "it is in the store");
}

fn text(value: &Value, name: &str) -> String {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name} in {value}"))
        .to_owned()
}
