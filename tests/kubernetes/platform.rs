//! The platform's API with a real cluster behind it: deployments, logs, programs in pods, what the agent reports.
#![allow(clippy::too_many_lines, reason = "one story each")]

use crate::{
    common::{
        DEADLINE,
        agent::AgentConfig,
        api::Api,
        eventually, root,
        sum::{Seeded, Sum},
    },
    env::{CLUSTER, IDLE, with_tunnel},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

const APPLICATION: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: app
        image: harness.local/busybox:1
        imagePullPolicy: IfNotPresent
        command: [sh, -c, "sleep 1000000"]
        envFrom: [{configMapRef: {name: shop}}]
        resources: {requests: {cpu: 10m, memory: 16Mi}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: shop}
data: {greeting: hello}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: shop}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}
  minReplicas: 2
  maxReplicas: 4
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
---
apiVersion: example.com/v1
kind: Cache
metadata: {name: shop}
spec: {size: 3}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: caches.example.com}
spec:
  group: example.com
  names: {kind: Cache, plural: caches, singular: cache}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}
---
apiVersion: v1
kind: Namespace
metadata: {name: platform-shop}
"#;

fn deployments(name: &str) -> String {
    format!("/v1/clusters/{CLUSTER}/deployments{name}")
}

fn begin(api: &Api, manifest: &str, namespace: &str) -> String {
    let new = json!({"project_id": "proj-123", "manifest": manifest, "namespace": namespace});
    let made = api
        .post(&format!("/v1/clusters/{CLUSTER}/deploy"), &new)
        .expect(202);
    made["id"].as_str().unwrap().to_owned()
}

/// Waits for the end of a deployment.
fn ended(api: &Api, id: &str) -> Value {
    eventually("the deployment's end", DEADLINE, || {
        let deployment = api.get(&deployments(&format!("/{id}"))).expect(200);
        if deployment["finished"] == true {
            Ok(deployment)
        } else {
            Err(deployment.to_string())
        }
    })
}

#[test]
fn an_application_is_deployed_to_ready_and_deleted() {
    with_tunnel(|env, tunnel| {
        let api = Api::operator(&tunnel.gateway);
        let admin = env.cluster.admin.clone().in_namespace("platform-shop");
        let id = begin(&api, APPLICATION, "platform-shop");
        let watched = api.get(&deployments(&format!("/{id}/watch")));
        assert!(
            watched.text.contains("\"status\":\"succeeded\""),
            "{}{}{}",
            watched.text,
            tunnel.agent.tail(),
            tunnel.gateway.tail()
        );
        assert!(
            watched.text.contains("\"status\":\"rolling_out\""),
            "{}",
            watched.text
        );
        let deployment = ended(&api, &id);
        let kinds: Vec<&str> = deployment["objects"]
            .as_array()
            .unwrap()
            .iter()
            .map(|o| o["kind"].as_str().unwrap())
            .collect();
        assert_eq!(
            &kinds[..2],
            ["Namespace", "CustomResourceDefinition"],
            "{kinds:?}"
        );
        assert_eq!(kinds.len(), 7);
        assert_eq!(
            admin.ok("get deployment shop -o jsonpath={.status.availableReplicas}"),
            "2"
        );
        assert_eq!(
            admin
                .ok("get pods -l pipeops.io/project=proj-123 -o name")
                .lines()
                .count(),
            2,
            "the pods carry the project's label"
        );
        assert_eq!(
            admin.ok("get cache shop -o jsonpath={.metadata.labels.managed-by}"),
            "pipeops"
        );

        let again = ended(&api, &begin(&api, APPLICATION, "platform-shop"));
        let map = again["objects"]
            .as_array()
            .unwrap()
            .iter()
            .find(|o| o["kind"] == "ConfigMap")
            .unwrap();
        assert_eq!(map["action"], "unchanged", "{again}");

        admin.ok("create configmap not-ours");
        api.delete(&deployments(&format!("/{id}"))).expect(202);
        let pruned = ended(&api, &id);
        assert_eq!(pruned["status"], "pruned", "{pruned}");
        eventually("the namespace's end", DEADLINE, || {
            let out = env.cluster.admin.run("get namespace platform-shop");
            if out.stderr.contains("NotFound") {
                Ok(())
            } else {
                Err(out.stdout)
            }
        });
    });
}

#[test]
fn a_bad_document_applies_nothing_and_all_that_is_wrong_is_told() {
    with_tunnel(|env, tunnel| {
        let api = Api::operator(&tunnel.gateway);
        let space = env.namespace("bad");
        let map =
            |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
        let bad =
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: c}\nspec: {replicas: many}\n";
        let manifest = [map("a"), map("b"), bad.to_owned(), map("d"), map("e")].join("---\n");
        let refused = ended(&api, &begin(&api, &manifest, &space.name));
        assert_eq!(refused["status"], "refused", "{refused}");
        assert!(
            refused["error"].to_string().contains("document"),
            "{refused}"
        );
        let broken = ended(&api, &begin(&api, "a: [", &space.name));
        assert_eq!(
            (&broken["status"], &broken["error"]["code"]),
            (&json!("refused"), &json!("INVALID_REQUEST")),
            "{broken}"
        );
        let elsewhere = map("a").replace("{name: a}", "{name: a, namespace: default}");
        assert_eq!(
            ended(&api, &begin(&api, &elsewhere, &space.name))["status"],
            "refused"
        );
        assert_eq!(
            space
                .admin
                .ok("get configmaps -l managed-by=pipeops -o name"),
            ""
        );
    });
}

#[test]
fn the_documented_line_deploys_a_manifest_and_says_why_it_is_not_ready() {
    with_tunnel(|env, tunnel| {
        let api = Api::operator(&tunnel.gateway);
        let folder = crate::common::temp_dir("ci");
        // The reference's own manifest, whose image nobody has.
        let manifest = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "my-application", "namespace": "default", "labels": {"managed-by": "pipeops"}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "my-application"}}, "template": {
                "metadata": {"labels": {"app": "my-application", "pipeops.io/project": "proj-123"},
                    "annotations": {"pipeops.io/auto-scale": "true", "pipeops.io/min-replicas": "2", "pipeops.io/max-replicas": "10"}},
                "spec": {"containers": [{"name": "app", "image": "my-app:v1.0.0", "ports": [{"containerPort": 8080}],
                    "env": [{"name": "PIPEOPS_PROJECT_ID", "value": "proj-123"}],
                    "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"}}}]}}}});
        fs::write(folder.join("deployment.json"), manifest.to_string()).unwrap();
        let token = tunnel
            .gateway
            .user_token("ci@example.com", "admin", CLUSTER, "deploy");
        let line = r#"curl -X POST https://api.pipeops.sh/v1/clusters/$CLUSTER_NAME/deploy \
            -H "Authorization: Bearer $PIPEOPS_TOKEN" \
            -H "Content-Type: application/json" \
            -d @deployment.json"#;
        let line = line.replace("https://api.pipeops.sh", &api.url);
        let mut shell = Command::new("bash");
        shell
            .args(["-c", &line])
            .current_dir(&folder)
            .env("CURL_CA_BUNDLE", tunnel.gateway.ca());
        let out = shell
            .env("CLUSTER_NAME", CLUSTER)
            .env("PIPEOPS_TOKEN", token)
            .output()
            .unwrap();
        let made: Value =
            serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"));
        assert_eq!(
            (&made["project_id"], &made["namespace"]),
            (&json!("proj-123"), &json!("default")),
            "{made}"
        );
        let id = made["id"].as_str().unwrap();
        eventually("Kubernetes' own reason", DEADLINE, || {
            let told = api
                .get(&deployments(&format!("/{id}")))
                .expect(200)
                .to_string();
            if told.contains("ImagePull") {
                Ok(())
            } else {
                Err(told)
            }
        });
        api.send("POST", &deployments(&format!("/{id}/cancel")), &json!({}))
            .expect(202);
        assert_eq!(ended(&api, id)["status"], "cancelled");
        env.cluster
            .admin
            .ok("delete deployment my-application -n default");
    });
}

#[test]
fn the_agents_policy_comes_before_everything() {
    with_tunnel(|env, tunnel| {
        let api = Api::operator(&tunnel.gateway);
        let space = env.namespace("policy");
        let name = space.name.clone();
        let agent = AgentConfig::new(&tunnel.gateway, "held", "cls-held")
            .kubernetes(&env.cluster.agent_kubeconfig());
        let agent = agent.edit(|yaml| {
            yaml["commands"] = json!({"namespaces": [name], "kinds": ["ConfigMap"], "exec": false});
        });
        let _agent = agent.start();
        let deploy = |manifest: &str, namespace: &str| {
            let new = json!({"project_id": "p", "manifest": manifest, "namespace": namespace});
            let made = api.post("/v1/clusters/held/deploy", &new).expect(202);
            let path = format!(
                "/v1/clusters/held/deployments/{}",
                made["id"].as_str().unwrap()
            );
            eventually("an end", DEADLINE, || {
                let deployment = api.get(&path).expect(200);
                if deployment["finished"] == true {
                    Ok(deployment)
                } else {
                    Err(deployment.to_string())
                }
            })
        };
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
        assert_eq!(deploy(map, &space.name)["status"], "succeeded");
        let elsewhere = deploy(map, "default");
        assert_eq!(
            (&elsewhere["status"], &elsewhere["error"]["code"]),
            (&json!("refused"), &json!("FORBIDDEN")),
            "{elsewhere}"
        );
        let secret = deploy(
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n",
            &space.name,
        );
        assert!(
            secret["error"]["message"]
                .as_str()
                .unwrap()
                .contains("commands.kinds"),
            "{secret}"
        );
        space.pod("box", IDLE);
        let logs = api.get(&format!(
            "/v1/clusters/held/logs?pod=box&namespace={}",
            space.name
        ));
        assert_eq!(logs.status, 200, "{logs:?}");
        assert_eq!(
            api.get("/v1/clusters/held/logs?pod=box&namespace=default")
                .refused(403),
            "FORBIDDEN"
        );
        let upgrade = [
            "-H",
            "Connection: Upgrade",
            "-H",
            "Upgrade: websocket",
            "--http1.1",
            "-H",
            "Sec-WebSocket-Version: 13",
            "-H",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ];
        let exec = api.call(
            &upgrade,
            &format!(
                "/v1/clusters/held/exec?pod=box&namespace={}&command=true",
                space.name
            ),
        );
        assert!(exec.text.contains("commands.exec"), "{exec:?}");
    });
}

#[test]
fn logs_come_as_text_as_events_and_as_lines() {
    with_tunnel(|env, tunnel| {
        let api = Api::operator(&tunnel.gateway);
        let space = env.namespace("api-logs");
        space.pod("talker", "echo one; echo two; printf three");
        let path = format!(
            "/v1/clusters/{CLUSTER}/logs?pod=talker&namespace={}",
            space.name
        );
        eventually("the log", DEADLINE, || {
            let logs = api.get(&path);
            if logs.text == "one\ntwo\nthree" {
                Ok(())
            } else {
                Err(logs.text)
            }
        });
        assert_eq!(api.get(&format!("{path}&tail_lines=1")).text, "three");
        let events = api.call(
            &["-H", "Accept: text/event-stream"],
            &format!("{path}&follow=true"),
        );
        let expected = "event: log\ndata: {\"line\":\"one\"}\n\nevent: log\ndata: {\"line\":\"two\"}\n\n\
                        event: log\ndata: {\"line\":\"three\"}\n\nevent: end\ndata: {\"reason\":\"the log is over\"}\n\n";
        assert_eq!(events.text, expected);
        let lines = api.call(&["-H", "Accept: application/x-ndjson"], &path);
        assert!(
            lines.text.starts_with("{\"line\":\"one\"}\n")
                && lines
                    .text
                    .ends_with("{\"end\":{\"reason\":\"the log is over\"}}\n"),
            "{}",
            lines.text
        );
        let missing = api
            .get(&format!(
                "/v1/clusters/{CLUSTER}/logs?pod=nobody&namespace={}",
                space.name
            ))
            .expect(404);
        assert_eq!(missing["error"]["code"], "NOT_FOUND");
        assert!(
            missing["error"]["message"]
                .as_str()
                .unwrap()
                .contains("\"nobody\" not found"),
            "{missing}"
        );
    });
}

#[test]
fn programs_run_with_their_bytes_and_exit_codes() {
    with_tunnel(|env, tunnel| {
        let api = Api::operator(&tunnel.gateway);
        let space = env.namespace("api-exec");
        space.pod("box", IDLE);
        space
            .admin
            .ok("wait pod/box --for=condition=Ready --timeout=120s");
        let run = |query: &str, input: &[u8]| {
            let url = format!(
                "{}/v1/clusters/{CLUSTER}/exec?pod=box&namespace={}&{query}",
                api.url.replace("https", "wss"),
                space.name
            );
            let mut command = Command::new("/usr/bin/python3");
            command
                .arg(root().join("tests/kubernetes/exec.py"))
                .arg(url)
                .arg(tunnel.gateway.ca())
                .arg(api.header());
            let mut child = command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut stdin = child.stdin.take().unwrap();
            let input = input.to_vec();
            let writer = std::thread::spawn(move || stdin.write_all(&input).ok());
            let out = child.wait_with_output().unwrap();
            writer.join().unwrap();
            out
        };
        let out = run(
            "command=sh&command=-c&command=echo+out;+echo+err+%3E%262;+exit+3",
            b"",
        );
        assert_eq!(
            (out.status.code(), out.stdout.as_slice()),
            (Some(3), b"out\n".as_slice()),
            "{out:?}"
        );
        assert_eq!(out.stderr, b"err\n");
        let bytes = Seeded::bytes(7, 4 << 20);
        let out = run("command=cat&stdin=true", &bytes);
        assert_eq!(
            (out.status.code(), out.stdout.len()),
            (Some(0), bytes.len()),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        assert_eq!(Sum::of(&out.stdout).hex(), Sum::of(&bytes).hex());
        let entries = api
            .get("/v1/audit?subject=op@example.com")
            .expect(200)
            .to_string();
        assert!(entries.contains("\"exec\""), "{entries}");
    });
}

#[test]
fn the_agent_reports_its_cluster() {
    with_tunnel(|env, tunnel| {
        let api = Api::operator(&tunnel.gateway);
        let path = format!("/v1/clusters/{CLUSTER}");
        let nodes = env.cluster.admin.ok("get nodes -o name").lines().count();
        let cluster = eventually("a report", DEADLINE, || {
            let cluster = api.get(&path).expect(200);
            if cluster["nodes"] == nodes && cluster["metrics"]["active_pods"].is_number() {
                Ok(cluster)
            } else {
                Err(cluster.to_string())
            }
        });
        assert_eq!(cluster["status"], "connected");
        assert!(
            cluster["version"].is_string()
                && cluster["kubernetes_version"]
                    .as_str()
                    .unwrap()
                    .starts_with('v'),
            "{cluster}"
        );
        assert_eq!(
            cluster["metrics_source"], "requested",
            "no metrics.k8s.io here: {cluster}"
        );
        let space = env.namespace("reported");
        space.pod("seen", IDLE);
        eventually("an event", DEADLINE, || {
            let out = api
                .command(&["--max-time", "2"], &format!("{path}/events"))
                .output()
                .unwrap();
            let text = String::from_utf8(out.stdout).unwrap();
            if text.contains("pod_created") && text.contains(&space.name) {
                Ok(())
            } else {
                Err(text)
            }
        });
    });
}
