//! Changing things, as an editor; and not, as a viewer.

use crate::{
    common::sum::{Seeded, Sum},
    env::{Env, Form, IDLE, Role, config_map, container},
};
use serde_json::json;
use std::io::Cursor;

by_both_forms!(
    apply_server_side_patch_delete,
    scale_and_rollout_status,
    an_object_of_one_mib
);
by_both_forms!(a_viewer_may_not_delete);

fn apply_server_side_patch_delete(env: &'static Env, form: Form) {
    let space = env.namespace("write");
    let kubectl = space.kubectl(Role::Editor, form);
    assert!(
        kubectl
            .apply(&config_map("thing", "a", "1"))
            .contains("serverside-applied")
    );
    kubectl.apply(&config_map("thing", "a", "2"));
    let seen = space
        .admin
        .json("get configmap thing --show-managed-fields");
    assert_eq!(seen["data"]["a"], "2");
    assert_eq!(seen["metadata"]["managedFields"][0]["operation"], "Apply");

    // Another manager's field: a conflict that only the server can know of.
    let other = config_map("thing", "a", "3").to_string();
    let other = kubectl.run_with(
        "apply --server-side --field-manager other -f -",
        Cursor::new(other),
    );
    assert!(
        other.code != Some(0) && other.stderr.contains("conflict"),
        "{}",
        other.stderr
    );

    kubectl.ok(&[
        "patch",
        "configmap",
        "thing",
        "--type",
        "merge",
        "-p",
        r#"{"data":{"b":"x y"}}"#,
    ]);
    kubectl.ok(&[
        "patch",
        "configmap",
        "thing",
        "--type",
        "json",
        "-p",
        r#"[{"op":"remove","path":"/data/a"}]"#,
    ]);
    assert_eq!(
        space.admin.json("get configmap thing")["data"],
        json!({"b": "x y"})
    );

    assert!(kubectl.ok("delete configmap thing").contains("deleted"));
    assert!(
        space
            .admin
            .fails("get configmap thing")
            .contains("NotFound")
    );
}

fn scale_and_rollout_status(env: &'static Env, form: Form) {
    let space = env.namespace("rollout");
    let kubectl = space.kubectl(Role::Editor, form);
    let labels = json!({"app": "web"});
    kubectl.apply(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels},
                 "template": {"metadata": {"labels": labels},
                              "spec": {"containers": [container(IDLE)], "terminationGracePeriodSeconds": 0}}},
    }));
    let rolled = kubectl.ok("rollout status deployment/web --timeout=120s");
    assert!(rolled.contains("successfully rolled out"), "{rolled}");
    kubectl.ok("scale deployment/web --replicas=3");
    kubectl.ok("rollout status deployment/web --timeout=120s");
    assert_eq!(
        space.admin.json("get deployment web")["status"]["readyReplicas"],
        3
    );
    kubectl.ok("set env deployment/web COLOUR=blue");
    kubectl.ok("rollout status deployment/web --timeout=120s");
    assert!(kubectl.ok("rollout history deployment/web").contains('2'));
    kubectl.ok("delete deployment web --wait --timeout=120s");
}

fn an_object_of_one_mib(env: &'static Env, form: Form) {
    let space = env.namespace("big");
    let kubectl = space.kubectl(Role::Editor, form);
    // As much as Kubernetes takes in a ConfigMap.
    let value = data_encoding::BASE32.encode(&Seeded::bytes(3, (1 << 20) / 8 * 5));
    assert_eq!(value.len(), 1 << 20);
    let manifest = config_map("big", "key", &value).to_string();
    kubectl.ok_with("create -f -", Cursor::new(manifest));
    let through = kubectl.json("get configmap big");
    assert_eq!(
        Sum::of(through["data"]["key"].as_str().unwrap().as_bytes()).hex(),
        Sum::of(value.as_bytes()).hex()
    );
    assert_eq!(through, space.admin.json("get configmap big"));

    // One byte more is refused by Kubernetes, in its own words.
    let manifest = config_map("too-big", "key", &(value + "x")).to_string();
    let refused = kubectl
        .run_with("create -f -", Cursor::new(manifest))
        .stderr;
    assert!(
        refused.contains("Too long: may not be more than 1048576 bytes"),
        "{refused}"
    );
}

fn a_viewer_may_not_delete(env: &'static Env, form: Form) {
    let space = env.namespace("refused");
    space.admin.apply(&config_map("kept", "a", "b"));
    let refused = space
        .kubectl(Role::Viewer, form)
        .fails("delete configmap kept");
    let words = format!(
        "Error from server (Forbidden): configmaps \"kept\" is forbidden: User \"{}\" cannot delete resource \"configmaps\"",
        Role::Viewer.account()
    );
    assert!(refused.contains(&words), "{refused}");
    space.admin.ok("get configmap kept");
}
