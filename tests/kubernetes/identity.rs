//! Who Kubernetes thinks is asking, and what that one may do.

use crate::{
    common::{agent::AgentConfig, cluster::Cluster, eventually, kubectl::Kubectl, temp_dir},
    env::{Env, Form, Role, with, with_tunnel},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, io::Cursor, time::Duration};

by_both_forms!(
    each_role_is_its_account_with_the_subject_for_audit,
    what_each_role_can_do
);

fn each_role_is_its_account_with_the_subject_for_audit(env: &'static Env, form: Form) {
    for role in Role::ALL {
        let me = env.kubectl(role, form).json("auth whoami");
        let me = &me["status"]["userInfo"];
        assert_eq!(me["username"], role.account());
        assert_eq!(
            me["extra"]["pipeops.io/subject"],
            json!([role.subject()]),
            "{me}"
        );
        let groups = json!([
            "system:serviceaccounts",
            "system:serviceaccounts:pipeops-system",
            "system:authenticated"
        ]);
        assert_eq!(me["groups"], groups);
    }
}

/// What a role may do in a namespace where editors may write.
const RIGHTS: [(&str, [bool; 3]); 12] = [
    // verb and kind                          viewer editor admin
    ("list pods", [true, true, true]),
    ("get pods/log", [true, true, true]),
    ("list nodes", [true, true, true]),
    ("watch customresourcedefinitions", [true, true, true]),
    ("create deployments.apps", [false, true, true]),
    ("patch deployments.apps/scale", [false, true, true]),
    ("delete pods", [false, true, true]),
    ("create pods/exec", [false, true, true]),
    ("create pods/portforward", [false, true, true]),
    ("get secrets", [false, true, true]),
    ("create clusterrolebindings", [false, false, true]),
    ("delete nodes", [false, false, true]),
];

fn what_each_role_can_do(env: &'static Env, form: Form) {
    let space = env.namespace("rights");
    for (n, role) in Role::ALL.into_iter().enumerate() {
        let kubectl = space.kubectl(role, form);
        for (what, expected) in RIGHTS {
            assert_eq!(can_i(&kubectl, what), expected[n], "{role}: {what}");
        }
    }
}

fn can_i(kubectl: &Kubectl, what: &str) -> bool {
    let (verb, kind) = what.split_once(' ').unwrap();
    let out = match kind.split_once('/') {
        Some((kind, sub)) => kubectl.run(&format!("auth can-i {verb} {kind} --subresource {sub}")),
        None => kubectl.run(&format!("auth can-i {verb} {kind}")),
    };
    match (out.code, out.stdout.trim()) {
        (Some(0), "yes") => true,
        (Some(1), "no") => false,
        other => panic!(
            "auth can-i {what}: {other:?} {}\n{}",
            out.stderr,
            kubectl.tails()
        ),
    }
}

/// With `edit` there they could run a pod as pipeops-admin, or make its token.
#[test]
fn editors_cannot_become_admins() {
    with(|env| {
        for namespace in ["pipeops-system", "kube-system"] {
            let kubectl = env
                .kubectl(Role::Editor, Form::Path)
                .in_namespace(namespace);
            let ways = [
                "create pods",
                "create pods/exec",
                "create serviceaccounts/token",
                "impersonate serviceaccounts",
            ];
            for what in ways.into_iter().chain([
                "get secrets",
                "create rolebindings",
                "patch serviceaccounts",
            ]) {
                assert!(!can_i(&kubectl, what), "{namespace}: {what}");
            }
        }
    });
}

/// What a user adds about identity is not what Kubernetes hears.
#[test]
fn a_user_cannot_pose_as_another() {
    with_tunnel(|env, _| {
        let namespace = env.namespace("pose");
        let claims = [
            "--as=admin --as-group=system:masters",
            "--as=system:serviceaccount:pipeops-system:pipeops-admin",
        ];
        for form in [Form::Path, Form::Host] {
            for claim in claims {
                let kubectl = namespace.kubectl(Role::Viewer, form);
                let out = kubectl.run(&format!(
                    "{claim} --as-user-extra=pipeops.io/subject=root auth whoami -o json"
                ));
                if out.code == Some(0) {
                    let me: Value = serde_json::from_str(&out.stdout).unwrap();
                    let me = &me["status"]["userInfo"];
                    assert_eq!(me["username"], Role::Viewer.account(), "{claim}");
                    assert_eq!(
                        me["extra"],
                        json!({"pipeops.io/subject": [Role::Viewer.subject()]}),
                        "{claim}"
                    );
                }
                kubectl.fails(&format!("{claim} get secrets"));
            }
        }
    });
}

/// A role's rights in a namespace, one line for each rule.
fn rules(kubectl: &Kubectl, namespace: &str) -> BTreeSet<String> {
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
                        "spec": {"namespace": namespace}});
    let answer = kubectl.ok_with(
        "create --validate=false -o json -f -",
        Cursor::new(review.to_string()),
    );
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let rules = ["resourceRules", "nonResourceRules"]
        .map(|kind| answer["status"][kind].as_array().unwrap().clone());
    rules.concat().iter().map(Value::to_string).collect()
}

#[test]
fn the_agents_own_account_can_do_nothing_but_act_as_the_roles() {
    with(|env| {
        let cluster = env.cluster;
        cluster
            .admin
            .ok("create serviceaccount nobody --namespace pipeops-system");
        let (agent, nobody) = (cluster.account("pipeops-agent"), cluster.account("nobody"));
        let extra = |namespace| -> Vec<String> {
            rules(&agent, namespace)
                .difference(&rules(&nobody, namespace))
                .cloned()
                .collect()
        };
        let subject = json!({"apiGroups": ["authentication.k8s.io"], "resources": ["userextras/pipeops.io/subject"],
                             "verbs": ["impersonate"]});
        let roles = json!({"apiGroups": [""], "resourceNames": ["pipeops-viewer", "pipeops-editor", "pipeops-admin"],
                           "resources": ["serviceaccounts"], "verbs": ["impersonate"]});
        assert_eq!(extra("default"), [subject.to_string()]);
        assert_eq!(
            extra("pipeops-system"),
            [roles.to_string(), subject.to_string()]
        );
        for who in [
            "admin",
            "system:kube-controller-manager",
            "system:serviceaccount:kube-system:default",
        ] {
            assert!(refused_as(&agent, &format!("--as={who}")), "{who}");
        }
        let viewer = format!("--as={}", Role::Viewer.account());
        assert!(refused_as(
            &agent,
            &format!("{viewer} --as-group=system:masters")
        ));
        assert!(refused_as(
            &agent,
            &format!("{viewer} --as-user-extra=other=x")
        ));
        assert!(!refused_as(&agent, &viewer));
    });
}

fn refused_as(agent: &Kubectl, claim: &str) -> bool {
    agent
        .run(&format!("{claim} get --raw /api"))
        .stderr
        .contains("cannot impersonate")
}

/// The agent's token is replaced in its file, as the kubelet does, and the old
/// one then refused, as a deleted pod's is.
#[test]
fn the_agent_takes_up_a_new_token() {
    with_tunnel(|env, tunnel| {
        let cluster = env.cluster;
        let dir = temp_dir("rotation");
        let old = bound_token(cluster, "rotation-old");
        fs::write(dir.join("token"), &old).unwrap();
        let file = dir.join("kubeconfig");
        let user = json!({"tokenFile": dir.join("token")});
        crate::common::kubeconfig::write(&file, &cluster.server, &cluster.ca, None, &user);
        let agent = AgentConfig::new(&tunnel.gateway, "rotation", "cls-rotation")
            .kubernetes(&file)
            .start();
        let user = tunnel
            .gateway
            .kubeconfig("rotation", "viewer", "rotation@example.com");
        let kubectl = Kubectl::new(&cluster.kubectl_program, &user).with_logs(&[agent.tail()]);
        kubectl.ok("get namespaces");

        fs::write(dir.join("next"), bound_token(cluster, "rotation-new")).unwrap();
        fs::rename(dir.join("next"), dir.join("token")).unwrap();
        cluster
            .admin
            .ok("delete secret rotation-old --namespace pipeops-system");
        let as_before = dir.join("as-before");
        crate::common::kubeconfig::write(
            &as_before,
            &cluster.server,
            &cluster.ca,
            None,
            &json!({"token": old}),
        );
        let as_before = Kubectl::new(&cluster.kubectl_program, &as_before);
        eventually(
            "the old token to be refused",
            Duration::from_secs(120),
            || {
                let out = as_before.run("get --raw /api");
                if out.stderr.contains("logged in") {
                    Ok(())
                } else {
                    Err(out.stdout)
                }
            },
        );
        eventually("the new token to be used", Duration::from_secs(300), || {
            let out = kubectl.run("get namespaces");
            if out.code == Some(0) {
                Ok(())
            } else {
                Err(format!("{}\n{}", out.stderr, agent.tail()))
            }
        });
    });
}

/// A token of the agent's account that dies with this new Secret.
fn bound_token(cluster: &Cluster, secret: &str) -> String {
    cluster.admin.ok(&format!(
        "create secret generic {secret} --namespace pipeops-system"
    ));
    cluster.account_token(
        "pipeops-agent",
        &format!("--bound-object-kind Secret --bound-object-name {secret}"),
    )
}
