//! What is not applied and not deleted, and why.

use super::*;

#[tokio::test]
async fn a_bad_document_applies_nothing() {
    let Some(bench) = Bench::new("bad").await else {
        return;
    };
    let five = |third: &str| {
        let maps: Vec<_> = ["a", "b", "c", "d", "e"]
            .iter()
            .map(|name| config_map(name, "v"))
            .collect();
        format!("{}{}{third}{}{}", maps[0], maps[1], maps[3], maps[4])
    };
    let unreadable = bench
        .deploy(&five(
            "---\napiVersion: v1\nkind: ConfigMap\n  metadata: [\n",
        ))
        .await;
    let unknown = bench
        .deploy(&five(&config_map("c", "v").replace("\ndata", "\ndota")))
        .await;
    let invalid = bench.deploy(&five("---\napiVersion: v1\nkind: Service\nmetadata: {name: c}\nspec: {ports: [{port: 99999}]}\n")).await;
    let elsewhere = bench
        .deploy(&five(
            &config_map("c", "v").replace("name: c", "name: c, namespace: default"),
        ))
        .await;
    let kindless = bench
        .deploy(&five(
            &config_map("c", "v").replace("ConfigMap", "ConfigMop"),
        ))
        .await;
    for (result, says) in [
        (unreadable, "YAML"),
        (unknown, "dota"),
        (invalid, "99999"),
        (elsewhere, "default"),
        (kindless, "ConfigMop"),
    ] {
        assert_eq!(result.outcome, Outcome::Refused);
        let error = result.error.unwrap();
        assert_eq!(error.code, "INVALID_REQUEST");
        assert_eq!(error.details["document"], 3, "{error:?}");
        assert!(error.message.contains(says), "{error:?}");
    }
    let two = five(&config_map("c", "v").replace("\ndata", "\ndota"))
        + &config_map("f", "v").replace("\ndata", "\ndeta");
    let error = bench.deploy(&two).await.error.unwrap();
    assert_eq!(error.details["error_count"], 2);
    assert_eq!(error.details["errors"][1]["document"], 6);
    for name in ["a", "b", "c", "d", "e"] {
        assert!(bench.config_map(name).await.is_none(), "{name}");
    }
}

#[tokio::test]
async fn what_goes_to_a_new_namespace_is_tried_too() {
    let Some(bench) = Bench::without_namespace("new").await else {
        return;
    };
    for (from, to) in [
        ("replicas: 2", "replicsa: 2"),
        ("maxReplicas: 5", "maxReplicas: 1"),
        ("app: web}}\n  template", "app: x}}\n  template"),
    ] {
        let result = bench.deploy(&application().replace(from, to)).await;
        assert_eq!(result.outcome, Outcome::Refused, "{to}");
        assert_eq!(result.error.unwrap().code, "INVALID_REQUEST");
    }
    assert!(
        bench
            .get(&format!("/api/v1/namespaces/{}", bench.namespace))
            .await
            .is_none()
    );
    let error = bench.deploy(&config_map("a", "v")).await.error.unwrap();
    assert_eq!(error.code, "NOT_FOUND", "{error:?}");
}

#[tokio::test]
async fn the_policy_and_the_accounts_rights_hold() {
    let Some(mut bench) = Bench::new("policy").await else {
        return;
    };
    bench.policy = Policy::new(&CommandsConfig {
        kinds: vec!["ConfigMap".to_owned()],
        ..CommandsConfig::default()
    });
    let secret = config_map("s", "v")
        .replace("ConfigMap", "Secret")
        .replace("\ndata", "\nstringData");
    let result = bench.deploy(&(config_map("a", "v") + &secret)).await;
    assert_eq!(result.outcome, Outcome::Refused);
    let error = result.error.unwrap();
    assert_eq!(
        (error.code.as_str(), &error.details["document"]),
        ("FORBIDDEN", &json!(2))
    );
    assert!(bench.config_map("a").await.is_none());

    let viewer = "system:serviceaccount:pipeops-system:pipeops-viewer";
    bench.client = client(Some(viewer)).await.unwrap();
    bench.policy = Policy::new(&CommandsConfig::default());
    let error = bench.deploy(&config_map("a", "v")).await.error.unwrap();
    assert_eq!(error.code, "FORBIDDEN");
    assert!(error.message.contains("pipeops-viewer"), "{error:?}");
}

#[tokio::test]
async fn what_others_have_is_theirs() {
    let Some(bench) = Bench::new("others").await else {
        return;
    };
    let namespace = &bench.namespace;
    let path = format!("v1/namespaces/{namespace}/configmaps");
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b", "labels": {"pipeops.io/project": "other"}}});
    bench.kubectl(&path, &theirs).await;
    let result = bench
        .deploy(&(config_map("a", "v") + &config_map("b", "v")))
        .await;
    assert_eq!(result.outcome, Outcome::Refused);
    assert_eq!(result.error.unwrap().code, "CONFLICT");
    assert!(bench.config_map("a").await.is_none());

    let by_hand = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hand"}, "data": {"key": "old"}});
    bench.kubectl(&path, &by_hand).await;
    assert_eq!(
        bench.deploy(&config_map("hand", "new")).await.outcome,
        Outcome::Succeeded
    );
    assert_eq!(
        bench.config_map("hand").await.unwrap()["data"]["key"],
        "new"
    );

    let by_tool = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "tool"}, "data": {"key": "old"}});
    bench.apply_as("helm", &path, &by_tool).await;
    let error = bench
        .deploy(&config_map("tool", "new"))
        .await
        .error
        .unwrap();
    assert_eq!(error.code, "CONFLICT");
    assert!(
        error.message.contains("helm") && error.details["field"] == ".data.key",
        "{error:?}"
    );
}

#[tokio::test]
async fn what_is_scaled_by_another_is_left_to_it() {
    let Some(bench) = Bench::without_namespace("scaled").await else {
        return;
    };
    let manifest = application();
    assert_eq!(bench.deploy(&manifest).await.outcome, Outcome::Succeeded);
    let path = format!("apps/v1/namespaces/{}/deployments", bench.namespace);
    let scaled = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 3}});
    bench
        .apply_as("kube-controller-manager", &path, &scaled)
        .await;
    let error = bench.deploy(&manifest).await.error.unwrap();
    assert!(
        error.message.contains("kube-controller-manager"),
        "{error:?}"
    );
    assert!(error.message.contains("who scales it"), "{error:?}");
    let without = manifest.replace("  replicas: 2\n", "");
    let result = bench.deploy(&without).await;
    assert_eq!(result.outcome, Outcome::Succeeded);
    let deployment = bench.get(&format!("/apis/{path}/web")).await.unwrap();
    assert_eq!(deployment["spec"]["replicas"], 3);
}

#[tokio::test]
async fn prune_takes_only_what_is_the_projects() {
    let Some(bench) = Bench::without_namespace("prune").await else {
        return;
    };
    let namespace = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {}}}\n",
        bench.namespace
    );
    let cron = "---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c}\nspec:\n  schedule: '0 0 1 1 *'\n  jobTemplate:\n    spec:\n      template:\n        spec:\n          restartPolicy: Never\n          containers: [{name: app, image: x}]\n";
    let deployed = bench
        .deploy(&(namespace + &config_map("mine", "v") + cron))
        .await;
    assert_eq!(deployed.outcome, Outcome::Succeeded);
    let path = format!("v1/namespaces/{}", bench.namespace);
    let foreign = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "foreign"}});
    bench.kubectl(&format!("{path}/configmaps"), &foreign).await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "theirs"}, "spec": {"ports": [{"port": 1}]}});
    bench.kubectl(&format!("{path}/services"), &service).await;
    let listed = [
        ("v1", "Namespace", "NAMESPACE"),
        ("v1", "ConfigMap", "mine"),
        ("v1", "ConfigMap", "foreign"),
        ("v1", "ConfigMap", "gone"),
        ("nowhere.com/v1", "Thing", "x"),
        ("batch/v1", "CronJob", "c"),
    ];
    let pruned = bench.prune(&listed).await;
    assert_eq!(pruned.outcome, Outcome::Succeeded);
    let expected = [
        ("Thing", "absent"),
        ("CronJob", "deleted"),
        ("ConfigMap", "deleted"),
        ("ConfigMap", "kept"),
        ("ConfigMap", "absent"),
        ("Namespace", "kept"),
    ];
    assert_eq!(actions(&pruned), expected);
    assert!(
        pruned.objects[5]
            .reason
            .as_ref()
            .unwrap()
            .contains("theirs")
    );
    assert!(bench.config_map("mine").await.is_none());
    assert!(bench.config_map("foreign").await.is_some());

    let request = Request::new(format!("/api/{path}/services"))
        .delete("theirs", &kube::api::DeleteParams::default());
    bench
        .client
        .request::<Value>(request.unwrap())
        .await
        .unwrap();
    assert_eq!(
        actions(&bench.prune(&listed[..1]).await),
        [("Namespace", "deleted")]
    );
    let refused = bench.prune(&[("v1", "ConfigMap", "../x")]).await;
    assert_eq!(refused.outcome, Outcome::Refused);
}

#[tokio::test]
async fn a_definition_is_kept_while_others_use_it() {
    let Some(bench) = Bench::without_namespace("defined").await else {
        return;
    };
    let manifest = application();
    let deployed = bench.deploy(&manifest).await;
    let thing = deployed.objects.last().unwrap().object.clone();
    let name = deployed.objects[1].object.name.clone();
    let (plural, _) = name.split_once('.').unwrap();
    let path = format!("example.com/v1/namespaces/default/{plural}");
    let foreign =
        json!({"apiVersion": "example.com/v1", "kind": thing.kind, "metadata": {"name": "theirs"}});
    bench.apply_as("kubectl", &path, &foreign).await;
    let listed = [(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        name.as_str(),
    )];
    let kept = bench.prune(&listed).await;
    assert_eq!(actions(&kept), [("CustomResourceDefinition", "kept")]);
    let request =
        Request::new(format!("/apis/{path}")).delete("theirs", &kube::api::DeleteParams::default());
    bench
        .client
        .request::<Value>(request.unwrap())
        .await
        .unwrap();
    let gone = bench.prune(&listed).await;
    assert_eq!(actions(&gone), [("CustomResourceDefinition", "deleted")]);
}
