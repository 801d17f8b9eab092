//! From a manifest to what it describes.

use super::*;

/// Whether this is what was done, or would be, with every object.
fn all(result: &DeployResult, wanted: &str) -> bool {
    actions(result).iter().all(|(_, action)| *action == wanted)
}

#[tokio::test]
async fn a_realistic_application_becomes_ready() {
    let Some(bench) = Bench::without_namespace("app").await else {
        return;
    };
    let manifest = application();
    let mut dry = bench.command(&manifest);
    dry.dry_run = true;
    let (tried, _) = bench.run(&dry).await;
    assert_eq!(tried.outcome, Outcome::Succeeded);
    assert!(all(&tried, "created"), "{tried:?}");
    let namespace = format!("/api/v1/namespaces/{}", bench.namespace);
    assert!(bench.get(&namespace).await.is_none());

    let (result, told) = bench.run(&bench.command(&manifest)).await;
    assert_eq!(result.outcome, Outcome::Succeeded);
    assert!(all(&result, "created"), "{result:?}");
    let objects = result.objects.iter();
    let kinds: Vec<_> = objects.map(|status| status.object.kind.as_str()).collect();
    let order = "Namespace CustomResourceDefinition ConfigMap Service Deployment";
    assert_eq!(kinds[..5].join(" "), order);
    assert!(result.objects.iter().all(|object| object.ready));
    let phases: Vec<_> = told.iter().map(|status| status.phase).collect();
    assert!(phases.is_sorted_by_key(|phase| *phase as u8));
    assert!(phases.contains(&DeployPhase::RollingOut));

    let namespace = &bench.namespace;
    let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/web");
    let deployment = bench.get(&path).await.unwrap();
    let pods = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(pods["pipeops.io/project"], "proj-123");
    let manager = &deployment["metadata"]["managedFields"][0]["manager"];
    assert_eq!(manager, "pipeops-agent");
}

#[tokio::test]
async fn what_stands_is_tried_as_it_stands() {
    let Some(bench) = Bench::without_namespace("again").await else {
        return;
    };
    let manifest = application();
    assert_eq!(bench.deploy(&manifest).await.outcome, Outcome::Succeeded);
    let mut dry = bench.command(&manifest);
    dry.dry_run = true;
    let (tried, _) = bench.run(&dry).await;
    assert!(all(&tried, "unchanged"), "{tried:?}");
    let again = bench.deploy(&manifest).await;
    assert!(all(&again, "unchanged"), "{again:?}");
    let other = bench.deploy(&manifest.replace("production", "test")).await;
    assert!(actions(&other).contains(&("ConfigMap", "configured")));
    // The definition stands, so that what it defines is tried with it.
    let unfit = bench
        .deploy(&manifest.replace("size: 3", "size: big"))
        .await;
    assert_eq!(unfit.outcome, Outcome::Refused);
    assert_eq!(unfit.error.unwrap().details["field"], ".spec.size");
}

#[tokio::test]
async fn large_manifests_go_through() {
    let Some(bench) = Bench::new("large").await else {
        return;
    };
    let value = "abc def ".repeat(1_100);
    let manifest: String = (0..100)
        .map(|n| config_map(&format!("map-{n}"), &value))
        .collect();
    assert!(
        (880_000..1_048_576).contains(&manifest.len()),
        "{}",
        manifest.len()
    );
    let result = bench.deploy(&manifest).await;
    assert_eq!(result.outcome, Outcome::Succeeded);
    assert_eq!(result.objects.len(), 100);
    let one = config_map("one", &"x".repeat(900 * 1024));
    assert_eq!(bench.deploy(&one).await.outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn two_deployments_at_once_do_no_harm() {
    let Some(bench) = Bench::without_namespace("race").await else {
        return;
    };
    let manifest = |mode: &str| application().replace("production", mode);
    let (a, b) = (bench.command(&manifest("a")), bench.command(&manifest("b")));
    let ((a, _), (b, _)) = tokio::join!(bench.run(&a), bench.run(&b));
    assert_eq!(
        (a.outcome, b.outcome),
        (Outcome::Succeeded, Outcome::Succeeded)
    );
    let mode = bench.config_map("web").await.unwrap()["data"]["MODE"].clone();
    assert!(mode == "a" || mode == "b");
}

const BROKEN: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  progressDeadlineSeconds: 2\n  \
    selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      \
    nodeSelector: {no: such}\n      containers: [{name: app, image: x}]\n";

#[tokio::test]
async fn a_rollout_that_fails_says_why() {
    let Some(bench) = Bench::new("broken").await else {
        return;
    };
    let failed = bench.deploy(BROKEN).await;
    assert_eq!(failed.outcome, Outcome::Failed);
    let message = failed.error.unwrap().message;
    assert!(message.contains("ProgressDeadlineExceeded"), "{message}");
    assert!(message.contains("Unschedulable"), "{message}");
    assert_eq!(failed.objects[0].action.as_deref(), Some("created"));
    assert!(!failed.objects[0].ready);

    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}});
    bench
        .kubectl(
            &format!("v1/namespaces/{}/resourcequotas", bench.namespace),
            &quota,
        )
        .await;
    let mut command = bench.command(
        &BROKEN
            .replace("web", "held")
            .replace("Seconds: 2", "Seconds: 600"),
    );
    command.timeout_ms = Some(4_000);
    let (late, told) = bench.run(&command).await;
    assert_eq!(late.outcome, Outcome::TimedOut);
    let error = late.error.unwrap();
    assert_eq!(error.code, "TARGET_TIMED_OUT");
    assert!(error.message.contains("exceeded quota"), "{error:?}");
    assert!(
        told.iter()
            .any(|status| status.message.contains("exceeded quota")),
        "{told:?}"
    );

    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers: [{name: app, image: x}]\n";
    let mut command = bench.command(job);
    command.timeout_ms = Some(4_000);
    let late = bench.run(&command).await.0;
    assert!(late.error.unwrap().message.contains("exceeded quota"));
}

#[tokio::test]
async fn a_command_is_cancelled() {
    let Some(bench) = Bench::new("cancel").await else {
        return;
    };
    let cancel = CancellationToken::new();
    let command = bench.command(&BROKEN.replace("Seconds: 2", "Seconds: 600"));
    let tell = |status: DeployStatus| {
        if status.phase == DeployPhase::RollingOut {
            cancel.cancel();
        }
    };
    let result = deploy(&bench.client, &bench.policy, "cmd", &command, tell, &cancel).await;
    assert_eq!(result.outcome, Outcome::Cancelled);
    assert!(result.error.unwrap().message.contains("1 of 1 objects"));
    let result = deploy(
        &bench.client,
        &bench.policy,
        "cmd",
        &command,
        |_| {},
        &cancel,
    )
    .await;
    assert_eq!(result.outcome, Outcome::Cancelled);
}

#[tokio::test]
async fn all_kinds_of_workloads_become_ready() {
    const KINDS: [(&str, &str, &str); 4] = [
        ("apps/v1", "StatefulSet", "serviceName: x, replicas: 2, "),
        ("apps/v1", "DaemonSet", ""),
        ("apps/v1", "ReplicaSet", ""),
        ("batch/v1", "Job", ""),
    ];
    let Some(bench) = Bench::new("kinds").await else {
        return;
    };
    let pod = "containers: [{name: app, image: x}]";
    let mut manifest =
        format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{{pod}}}\n");
    for (api_version, kind, more) in KINDS {
        let labels = format!("{{app: {kind}}}");
        let (selector, restart) = match kind {
            "Job" => (String::new(), ", restartPolicy: Never"),
            _ => (format!("selector: {{matchLabels: {labels}}}, "), ""),
        };
        manifest += &format!(
            "---\napiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: x}}\nspec: {{{more}{selector}template: \
             {{metadata: {{labels: {labels}}}, spec: {{{pod}{restart}}}}}}}\n"
        );
    }
    let result = bench.deploy(&manifest).await;
    assert_eq!(result.outcome, Outcome::Succeeded);
    assert!(result.objects.iter().all(|object| object.ready));
    let changed = manifest.replace("image: x}]}", "image: x:2}]}");
    let again = bench.deploy(&changed).await;
    assert_eq!(again.outcome, Outcome::Succeeded);
    assert!(actions(&again).contains(&("StatefulSet", "configured")));
    assert!(actions(&again).contains(&("Job", "unchanged")));
}
