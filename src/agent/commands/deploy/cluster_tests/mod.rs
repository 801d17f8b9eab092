//! Against a real API server.

mod deployments;
mod refusals;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Request;
use serde_json::{Value, json};

use super::*;
use crate::agent::config::CommandsConfig;
use crate::agent::test_cluster::{Node, cluster};
use crate::wire::control::{ObjectRef, Prune};

/// None, and the test is nothing, where there is no cluster.
async fn client(account: Option<&str>) -> Option<Client> {
    let kubeconfig = Kubeconfig::read_from(&cluster(Node::Fake)?.kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options);
    let mut config = config.await.unwrap();
    config.auth_info.impersonate = account.map(str::to_owned);
    Some(Client::try_from(config).unwrap())
}

/// A cluster and a namespace of a test's own.
struct Bench {
    client: Client,
    namespace: String,
    policy: Policy,
}

impl Bench {
    /// With a namespace that is there already.
    async fn new(name: &str) -> Option<Self> {
        let bench = Self::without_namespace(name).await?;
        let object =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": bench.namespace}});
        bench.kubectl("v1/namespaces", &object).await;
        Some(bench)
    }

    async fn without_namespace(name: &str) -> Option<Self> {
        Some(Self {
            client: client(None).await?,
            namespace: format!("{name}-{:08x}", fastrand::u32(..)),
            policy: Policy::new(&CommandsConfig::default()),
        })
    }

    /// Applies as somebody at a terminal would.
    async fn kubectl(&self, path: &str, object: &Value) {
        self.apply_as("kubectl-client-side-apply", path, object)
            .await;
    }

    async fn apply_as(&self, manager: &str, path: &str, object: &Value) {
        let root = if path.matches('/').count() == 1 || path.starts_with("v1") {
            "api"
        } else {
            "apis"
        };
        let params = kube::api::PatchParams::apply(manager).force();
        let name = object["metadata"]["name"].as_str().unwrap();
        let request = Request::new(format!("/{root}/{path}"))
            .patch(name, &params, &kube::api::Patch::Apply(object))
            .unwrap();
        self.client.request::<Value>(request).await.unwrap();
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        self.client.request::<Value>(request).await.ok()
    }

    fn command(&self, manifest: &str) -> Deploy {
        Deploy {
            project_id: "proj-123".to_owned(),
            manifest: manifest.replace("NAMESPACE", &self.namespace),
            namespace: self.namespace.clone(),
            timeout_ms: Some(60_000),
            ..Deploy::default()
        }
    }

    async fn run(&self, command: &Deploy) -> (DeployResult, Vec<DeployStatus>) {
        let mut told = Vec::new();
        let cancel = CancellationToken::new();
        let tell = |status| told.push(status);
        let result = deploy(&self.client, &self.policy, "cmd-1", command, tell, &cancel).await;
        eprintln!("{}", serde_json::to_string(&result).unwrap());
        (result, told)
    }

    async fn deploy(&self, manifest: &str) -> DeployResult {
        self.run(&self.command(manifest)).await.0
    }

    async fn prune(&self, objects: &[(&str, &str, &str)]) -> DeployResult {
        let objects = objects.iter().map(|(api_version, kind, name)| ObjectRef {
            api_version: (*api_version).to_owned(),
            kind: (*kind).to_owned(),
            namespace: None,
            name: name.replace("NAMESPACE", &self.namespace),
        });
        let command = Prune {
            project_id: "proj-123".to_owned(),
            namespace: self.namespace.clone(),
            objects: objects.collect(),
            ..Prune::default()
        };
        let cancel = CancellationToken::new();
        let result = prune(&self.client, &self.policy, "cmd-2", &command, &cancel).await;
        eprintln!("{}", serde_json::to_string(&result).unwrap());
        result
    }

    async fn config_map(&self, name: &str) -> Option<Value> {
        let namespace = &self.namespace;
        self.get(&format!("/api/v1/namespaces/{namespace}/configmaps/{name}"))
            .await
    }
}

fn actions(result: &DeployResult) -> Vec<(&str, &str)> {
    let action = |object: &'_ ObjectStatus| object.action.clone();
    let all = result.objects.iter();
    all.map(|object| (object.object.kind.as_str(), action(object)))
        .map(|(kind, action)| (kind, &*action.unwrap_or_default().leak()))
        .collect()
}

fn config_map(name: &str, value: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{key: \"{value}\"}}\n"
    )
}

/// A realistic application, in no useful order.
const APPLICATION: &str = r#"
apiVersion: example.com/v1
kind: KIND
metadata: {name: one}
spec: {size: 3}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 2
  maxReplicas: 5
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {managed-by: pipeops}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: app
        image: example.com/web:1
        ports: [{containerPort: 8080}]
        envFrom: [{configMapRef: {name: web}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data: {MODE: production}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: PLURAL.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: KIND, plural: PLURAL, singular: SINGULAR}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}
---
apiVersion: v1
kind: Namespace
metadata: {name: NAMESPACE}
"#;

fn application() -> String {
    let suffix: String = std::iter::repeat_with(fastrand::lowercase)
        .take(8)
        .collect();
    APPLICATION
        .replace("KIND", &format!("Thing{suffix}"))
        .replace("PLURAL", &format!("thing{suffix}s"))
        .replace("SINGULAR", &format!("thing{suffix}"))
}
