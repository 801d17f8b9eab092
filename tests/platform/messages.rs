//! What agents say of their clusters, and deployments given to an agent that the test speaks for.
#![allow(clippy::too_many_lines, reason = "one story each")]

use crate::{
    agents::{Language, Stranger},
    common::{DEADLINE, api::Api, eventually, gateway::Gateway, root},
};
use serde_json::{Value, json};
use std::fs;

const CLUSTER: &str = "production-cluster";
const ID: &str = "cls-123abc";

fn fixture() -> (Gateway, Api) {
    let gateway = Gateway::start();
    let api = Api::operator(&gateway);
    api.post("/v1/clusters", &json!({"name": CLUSTER, "id": ID}))
        .expect(201);
    (gateway, api)
}

fn connected(gateway: &Gateway, api: &Api, instance: &str) -> Stranger {
    let agent = Stranger::connect(gateway, CLUSTER, ID, Some(instance));
    agent.hear("welcome");
    eventually("the agent to be known", DEADLINE, || {
        let cluster = api.get("/v1/clusters/production-cluster").expect(200);
        if cluster["status"] == "connected" {
            Ok(())
        } else {
            Err(cluster.to_string())
        }
    });
    agent
}

fn begin(api: &Api) -> String {
    let new = json!({"project_id": "proj-123", "manifest": "kind: x", "namespace": "default"});
    let made = api
        .post("/v1/clusters/production-cluster/deploy", &new)
        .expect(202);
    made["id"].as_str().unwrap().to_owned()
}

fn status(api: &Api, id: &str, wanted: &str) -> Value {
    eventually(wanted, DEADLINE, || {
        let deployment = api
            .get(&format!("/v1/clusters/{CLUSTER}/deployments/{id}"))
            .expect(200);
        if deployment["status"] == wanted {
            Ok(deployment)
        } else {
            Err(deployment.to_string())
        }
    })
}

#[test]
fn the_references_own_messages_are_taken_from_python() {
    the_references_own_messages_are_taken(Language::Python);
}

#[test]
fn the_references_own_messages_are_taken_from_node() {
    the_references_own_messages_are_taken(Language::Node);
}

/// From a client that knows no more.
fn the_references_own_messages_are_taken(language: Language) {
    let (gateway, api) = fixture();
    let mut agent = Stranger::connect_by(language, &gateway, CLUSTER, ID, None);
    assert_eq!(agent.hear("welcome")["payload"]["protocol_version"], 1);
    let text = fs::read_to_string(root().join("tests/platform/reference.json")).unwrap();
    let messages: Vec<Value> = serde_json::from_str(&text).unwrap();
    messages
        .iter()
        .take(3)
        .for_each(|message| agent.say(message));
    let cluster = eventually("its reports", DEADLINE, || {
        let cluster = api.get("/v1/clusters/production-cluster").expect(200);
        if cluster["health"] == "healthy" {
            Ok(cluster)
        } else {
            Err(cluster.to_string())
        }
    });
    assert_eq!(
        (&cluster["nodes"], &cluster["pods"], &cluster["services"]),
        (&json!(3), &json!(45), &json!(12))
    );
    let said = &messages[0]["payload"]["metrics"];
    for name in ["cpu_usage", "memory_usage", "active_pods"] {
        assert_eq!(
            cluster["metrics"][name].as_f64(),
            said[name].as_f64(),
            "{name}"
        );
    }
    assert!(cluster["last_heartbeat"].is_string());
    let out = api
        .command(
            &["--max-time", "3"],
            "/v1/clusters/production-cluster/events",
        )
        .output()
        .unwrap();
    let events = String::from_utf8(out.stdout).unwrap();
    let data = events
        .lines()
        .find_map(|line| line.strip_prefix("data: "))
        .expect("an event");
    let event: Value = serde_json::from_str(data).unwrap();
    assert_eq!(
        (&event["event_type"], &event["details"]["node"]),
        (&json!("pod_created"), &json!("node-1"))
    );

    // What is no message is answered, and the connection goes on.
    agent.say(&json!({"type": "heartbeat", "id": "bad-1", "timestamp": "2024-01-15T10:30:45Z", "payload": 7}));
    let error = agent.hear("error");
    assert_eq!(
        (&error["payload"]["code"], &error["payload"]["message_id"]),
        (&json!("INVALID_REQUEST"), &json!("bad-1"))
    );

    // And a deployment comes as the reference shows it.
    let id = begin(&api);
    let deploy = agent.hear("deploy");
    assert_eq!(deploy["id"], id.as_str());
    let payload = &deploy["payload"];
    assert_eq!(
        (
            &payload["project_id"],
            &payload["manifest"],
            &payload["namespace"]
        ),
        (&json!("proj-123"), &json!("kind: x"), &json!("default"))
    );
    agent.tell(
        "deploy_result",
        &json!({"command_id": id, "outcome": "succeeded"}),
    );
    status(&api, &id, "succeeded");
}

#[test]
fn events_go_on_from_the_last_one_seen() {
    let (gateway, api) = fixture();
    let mut agent = connected(&gateway, &api, "one");
    let event = |n: usize| json!({"event_type": "pod_created", "namespace": "default", "resource": format!("pod-{n}"), "details": {}});
    agent.tell(
        "event_batch",
        &json!({"events": (0..5).map(event).collect::<Vec<_>>()}),
    );
    agent.tell(
        "event_summary",
        &json!({"left_out": 7, "by_type": {"pod_created": 7}}),
    );
    let read = |args: &[&str]| {
        let args = [&["--max-time", "3"], args].concat();
        let out = api
            .command(&args, "/v1/clusters/production-cluster/events")
            .output()
            .unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    let all = eventually("the events", DEADLINE, || {
        let all = read(&[]);
        if all.contains("left_out") {
            Ok(all)
        } else {
            Err(all)
        }
    });
    let ids: Vec<&str> = all
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .collect();
    assert_eq!(ids.len(), 6, "{all}");
    let rest = read(&["-H", &format!("Last-Event-ID: {}", ids[3])]);
    assert!(rest.contains("pod-4") && !rest.contains("pod-3"), "{rest}");
}

#[test]
fn a_deployment_is_followed_to_its_end() {
    let (gateway, api) = fixture();
    let mut agent = connected(&gateway, &api, "one");
    let id = begin(&api);
    assert_eq!(
        agent.hear("deploy")["payload"]["requested_by"],
        json!({"subject": "op@example.com", "role": "admin"})
    );
    agent.tell("ack", &json!({"command_id": id}));
    let object = json!({"api_version": "v1", "kind": "ConfigMap", "namespace": "default", "name": "a", "action": "created", "ready": true});
    for (phase, message) in [
        ("validating", ""),
        ("applying", "1 of 1"),
        ("rolling_out", "waiting for a"),
    ] {
        agent.tell(
            "deploy_status",
            &json!({"command_id": id, "phase": phase, "message": message, "objects": [object]}),
        );
    }
    let path = format!("/v1/clusters/{CLUSTER}/deployments/{id}/watch");
    let watch = api
        .command(&["--no-buffer"], &path)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    status(&api, &id, "rolling_out");
    agent.tell(
        "deploy_result",
        &json!({"command_id": id, "outcome": "failed", "objects": [object],
        "error": {"code": "TARGET_FAILED", "message": "ImagePullBackOff"}}),
    );
    assert_eq!(agent.hear("ack")["payload"]["command_id"], id.as_str());
    let out = watch.wait_with_output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let seen: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .collect();
    let states: Vec<&str> = seen
        .iter()
        .filter_map(|event| event["status"].as_str())
        .collect();
    assert_eq!(
        states,
        [
            "pending",
            "sent",
            "validating",
            "applying",
            "rolling_out",
            "failed"
        ],
        "{text}"
    );
    assert!(
        text.trim_end()
            .ends_with("{\"reason\":\"the deployment has ended\"}"),
        "{text}"
    );
    let again = api.call(&["-H", "Last-Event-ID: 5"], &path);
    assert_eq!(again.text.matches("event: status").count(), 1, "{again:?}");

    let deployment = status(&api, &id, "failed");
    assert_eq!(
        (
            &deployment["error"]["message"],
            &deployment["objects"][0]["name"]
        ),
        (&json!("ImagePullBackOff"), &json!("a"))
    );
    let listed = api
        .get("/v1/clusters/production-cluster/deployments")
        .expect(200);
    assert_eq!(
        (&listed["items"][0]["id"], &listed["items"][0]["objects"]),
        (&json!(id), &Value::Null)
    );

    // Its objects are deleted by another command.
    let deleting = api
        .delete(&format!("/v1/clusters/{CLUSTER}/deployments/{id}"))
        .expect(202);
    assert_eq!(deleting["status"], "pruning");
    let prune = agent.hear("prune");
    assert_eq!(
        prune["payload"]["objects"],
        json!([{"api_version": "v1", "kind": "ConfigMap", "namespace": "default", "name": "a"}])
    );
    agent.tell(
        "deploy_result",
        &json!({"command_id": prune["id"], "outcome": "succeeded"}),
    );
    status(&api, &id, "pruned");
}

#[test]
fn an_idempotency_key_is_good_for_one_request() {
    let (gateway, api) = fixture();
    let _agent = connected(&gateway, &api, "one");
    let path = "/v1/clusters/production-cluster/deployments";
    let body = |text: &str| json!({"project_id": "p", "manifest": text}).to_string();
    let send = |text: &str| api.call(&["-H", "Idempotency-Key: run-7", "-d", &body(text)], path);
    let first = send("kind: x").expect(202);
    assert_eq!(send("kind: x").expect(200)["id"], first["id"]);
    assert_eq!(send("kind: y").refused(409), "CONFLICT");
    assert_eq!(
        api.get(path).expect(200)["items"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn a_command_goes_to_one_process_however_often_it_reconnects() {
    let (gateway, api) = fixture();
    let agent = connected(&gateway, &api, "one");
    let id = begin(&api);
    assert_eq!(agent.hear("deploy")["id"], id.as_str());
    drop(agent);
    // The same process comes back and is asked again; it says what has come of it.
    let mut agent = Stranger::connect(&gateway, CLUSTER, ID, Some("one"));
    assert_eq!(agent.hear("deploy")["id"], id.as_str());
    agent.tell(
        "deploy_result",
        &json!({"command_id": id, "outcome": "succeeded"}),
    );
    agent.hear("ack");
    status(&api, &id, "succeeded");
    // The result once more, as after a lost acknowledgement.
    agent.tell(
        "deploy_result",
        &json!({"command_id": id, "outcome": "failed"}),
    );
    agent.hear("ack");
    status(&api, &id, "succeeded");

    let lost = begin(&api);
    assert_eq!(agent.hear("deploy")["id"], lost.as_str());
    drop(agent);
    // Another process can not know, and is not given it.
    let other = Stranger::connect(&gateway, CLUSTER, ID, Some("two"));
    other.hear("welcome");
    let deployment = status(&api, &lost, "unknown");
    assert!(
        deployment["message"]
            .as_str()
            .unwrap()
            .contains("restarted"),
        "{deployment}"
    );
    assert_eq!(other.heard("deploy"), 0);
}

#[test]
fn what_is_under_way_outlives_the_gateway() {
    let (mut gateway, api) = fixture();
    let agent = connected(&gateway, &api, "one");
    let id = begin(&api);
    agent.hear("deploy");
    status(&api, &id, "sent");
    // Whatever it had no time for.
    gateway.process.signal("KILL");
    gateway.process.wait_exit(DEADLINE);
    gateway.restart();
    let mut agent = Stranger::connect(&gateway, CLUSTER, ID, Some("one"));
    assert_eq!(agent.hear("deploy")["id"], id.as_str());
    agent.tell(
        "deploy_result",
        &json!({"command_id": id, "outcome": "succeeded"}),
    );
    status(&api, &id, "succeeded");
}

#[test]
fn an_agent_has_no_say_in_other_clusters() {
    let (gateway, api) = fixture();
    api.post("/v1/clusters", &json!({"name": "other", "id": "cls-other"}))
        .expect(201);
    let agent = connected(&gateway, &api, "one");
    let id = begin(&api);
    agent.hear("deploy");
    let mut other = Stranger::connect(&gateway, "other", "cls-other", Some("two"));
    other.hear("welcome");
    other.tell(
        "deploy_result",
        &json!({"command_id": id, "outcome": "succeeded"}),
    );
    other.hear("ack");
    status(&api, &id, "sent");
}

#[test]
fn a_deployment_is_cancelled() {
    let (gateway, api) = fixture();
    let mut agent = connected(&gateway, &api, "one");
    let id = begin(&api);
    agent.hear("deploy");
    let path = format!("/v1/clusters/{CLUSTER}/deployments/{id}");
    assert_eq!(api.delete(&path).refused(409), "CONFLICT");
    api.send("POST", &format!("{path}/cancel"), &json!({}))
        .expect(202);
    assert_eq!(agent.hear("cancel")["payload"]["command_id"], id.as_str());
    agent.tell(
        "deploy_result",
        &json!({"command_id": id, "outcome": "cancelled"}),
    );
    status(&api, &id, "cancelled");
}

#[test]
fn a_connection_that_breaks_between_any_two_messages_changes_nothing() {
    let (gateway, api) = fixture();
    let mut agent = connected(&gateway, &api, "one");
    let phases = ["validating", "applying", "rolling_out"];
    // What the agent gets said before its connection breaks: nothing, `ack`, and each `deploy_status`.
    for said in 0..=phases.len() + 1 {
        let id = begin(&api);
        assert_eq!(agent.hear("deploy")["id"], id.as_str());
        let mut reports = vec![("ack", json!({"command_id": id}))];
        reports.extend(
            phases.map(|phase| ("deploy_status", json!({"command_id": id, "phase": phase}))),
        );
        for (kind, payload) in reports.iter().take(said) {
            agent.tell(kind, payload);
        }
        drop(agent);
        // The same process is asked again, under the same id, and goes on where it was.
        agent = Stranger::connect(&gateway, CLUSTER, ID, Some("one"));
        assert_eq!(
            agent.hear("deploy")["id"],
            id.as_str(),
            "after {said} messages"
        );
        for (kind, payload) in reports.iter().skip(said) {
            agent.tell(kind, payload);
        }
        let result = json!({"command_id": id, "outcome": "succeeded"});
        agent.tell("deploy_result", &result);
        assert_eq!(agent.hear("ack")["payload"]["command_id"], id.as_str());
        drop(agent);
        // The acknowledgement is lost: the result comes once more, and the command does not.
        agent = Stranger::connect(&gateway, CLUSTER, ID, Some("one"));
        agent.hear("welcome");
        agent.tell("deploy_result", &result);
        assert_eq!(agent.hear("ack")["payload"]["command_id"], id.as_str());
        assert_eq!(agent.heard("deploy"), 0, "after {said} messages");
        let ended = status(&api, &id, "succeeded");
        let ends = ended["history"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|step| step["status"] == "succeeded");
        assert_eq!(ends.count(), 1, "{ended}");
    }
}
