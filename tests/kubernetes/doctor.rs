//! What `pipeops-agent doctor` says of an account in a real cluster.

use crate::{
    common::{
        agent::{AgentConfig, Diagnosis},
        cluster::Cluster,
        kubeconfig, temp_dir,
    },
    env::{Tunnel, with_tunnel},
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

const ROLES: [&str; 3] = ["pipeops-viewer", "pipeops-editor", "pipeops-admin"];
const SUBJECT: &str = "userextras/pipeops.io/subject";

fn diagnose(tunnel: &Tunnel, kubeconfig: &Path) -> Diagnosis {
    let config = AgentConfig::new(&tunnel.gateway, "doctor", "cls-doctor").kubernetes(kubeconfig);
    Diagnosis::of(&mut config.command(&["doctor", "--output", "json"]))
}

/// A kubeconfig of a new account of pipeops-system, which may do nothing yet.
fn account(cluster: &Cluster, name: &str) -> PathBuf {
    let namespace = "--namespace pipeops-system";
    cluster
        .admin
        .ok(&format!("create serviceaccount {name} {namespace}"));
    let user = json!({"token": cluster.account_token(name, "")});
    written(cluster, &user)
}

fn written(cluster: &Cluster, user: &Value) -> PathBuf {
    let file = temp_dir("doctor").join("kubeconfig");
    kubeconfig::write(&file, &cluster.server, &cluster.ca, None, user);
    file
}

fn permission<'a>(found: &'a Diagnosis, what: &str) -> &'a str {
    found.finding("permission", what)["status"]
        .as_str()
        .unwrap()
}

#[test]
fn the_accounts_of_the_manifests_are_in_order() {
    with_tunnel(|env, tunnel| {
        let found = diagnose(tunnel, &env.cluster.agent_kubeconfig());
        assert_eq!(found.status("kubernetes"), "ok", "{:#}", found.report);
        assert!(
            found
                .details("kubernetes")
                .contains("system:serviceaccount:pipeops-system:pipeops-agent")
        );
        for what in ROLES.into_iter().chain([SUBJECT]) {
            assert_eq!(permission(&found, what), "ok", "{:#}", found.report);
        }
        assert_eq!(found.code, Some(0), "{:#}", found.report);
    });
}

#[test]
fn each_permission_that_is_missing_is_named() {
    with_tunnel(|env, tunnel| {
        let kubeconfig = account(env.cluster, "doctor-partly");
        let found = diagnose(tunnel, &kubeconfig);
        assert_eq!(found.status("kubernetes"), "ok", "{:#}", found.report);
        for what in ROLES.into_iter().chain([SUBJECT]) {
            assert_eq!(permission(&found, what), "failed", "{:#}", found.report);
        }
        assert_eq!(found.code, Some(1));

        let namespace = "--namespace pipeops-system";
        env.cluster.admin.ok(&format!(
            "create role doctor-partly --verb impersonate --resource serviceaccounts \
             --resource-name pipeops-viewer --resource-name pipeops-editor {namespace}"
        ));
        env.cluster.admin.ok(&format!(
            "create rolebinding doctor-partly --role doctor-partly --serviceaccount pipeops-system:doctor-partly {namespace}"
        ));
        let found = crate::common::eventually("the new role", crate::common::DEADLINE, || {
            let found = diagnose(tunnel, &kubeconfig);
            match permission(&found, ROLES[0]) {
                "ok" => Ok(found),
                other => Err(other.to_owned()),
            }
        });
        assert_eq!(permission(&found, ROLES[1]), "ok");
        assert_eq!(permission(&found, ROLES[2]), "failed");
        let action = &found.finding("permission", SUBJECT)["action"];
        assert!(
            action
                .as_str()
                .unwrap()
                .contains("kubectl apply -k deploy/manifests")
        );
    });
}

#[test]
fn an_account_that_may_do_everything_is_warned_of() {
    with_tunnel(|env, tunnel| {
        let token = fs::read_to_string(env.cluster.ca.with_file_name("admin.token")).unwrap();
        let user = json!({"token": token.trim()});
        let found = diagnose(tunnel, &written(env.cluster, &user));
        assert_eq!(
            permission(&found, "everything"),
            "warning",
            "{:#}",
            found.report
        );
        assert_eq!(found.code, Some(0), "{:#}", found.report);
    });
}

#[test]
fn a_cluster_that_knows_no_such_token_and_one_that_is_not_there() {
    with_tunnel(|env, tunnel| {
        let found = diagnose(
            tunnel,
            &written(env.cluster, &json!({"token": "canary-nonsense"})),
        );
        assert_eq!(found.status("kubernetes"), "failed", "{:#}", found.report);
        assert!(!found.report.to_string().contains("canary-nonsense"));
        let file = temp_dir("doctor").join("kubeconfig");
        kubeconfig::write(
            &file,
            "https://127.0.0.1:1",
            &env.cluster.ca,
            None,
            &json!({"token": "x"}),
        );
        let found = diagnose(tunnel, &file);
        let details = found.details("kubernetes");
        assert!(details.contains("refused"), "{details}");
        assert_eq!(found.code, Some(1));
    });
}
