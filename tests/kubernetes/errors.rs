//! What kubectl prints when the tunnel cannot: a sentence that says what to do.

use crate::{
    common::{agent::AgentConfig, gateway::Gateway, kubeconfig, kubectl::Kubectl, temp_dir},
    env::{CLUSTER, CLUSTER_ID, Env, Form, Tunnel, with_tunnel},
};
use serde_json::json;

/// kubectl with this token at this cluster's address.
fn user(
    env: &'static Env,
    tunnel: &Tunnel,
    token: &str,
    (cluster, id): (&str, &str),
    form: Form,
) -> Kubectl {
    let gateway: &Gateway = &tunnel.gateway;
    let file = temp_dir("kubeconfig").join("config");
    let proxy = tunnel.proxy.url();
    let (server, proxy) = match form {
        Form::Path => (gateway.path_server(cluster), None),
        Form::Host => (gateway.host_server(id), Some(proxy.as_str())),
    };
    kubeconfig::write(
        &file,
        &server,
        &gateway.ca(),
        proxy,
        &json!({"token": token}),
    );
    Kubectl::new(&env.cluster.kubectl_program, &file).with_logs(&env.logs())
}

/// Both ways in which kubectl meets an error. A plain request (here `--raw`)
/// prints the `Status`'s message. But a first command begins with discovery, of
/// whose errors client-go keeps the code alone ("the server is currently unable
/// to handle the request"): there the sentence reaches the user only in a
/// `Warning: 299 - "…"` header, which kubectl prints for every response.
fn says(kubectl: &Kubectl, words: &[&str]) {
    let raw = kubectl.fails("get --raw /api/v1/namespaces");
    let first = kubectl.clone().with_cold_cache().fails("get pods");
    for (command, printed) in [("get --raw", raw), ("a first get pods", first)] {
        for word in words {
            let there = printed.to_lowercase().contains(&word.to_lowercase());
            assert!(
                there,
                "{command} does not say {word:?}, but: {printed}\n{}",
                kubectl.tails()
            );
        }
    }
}

fn by_each_form(test: impl Fn(&'static Env, &'static Tunnel, Form)) {
    with_tunnel(|env, tunnel| {
        [Form::Path, Form::Host]
            .into_iter()
            .for_each(|form| test(env, tunnel, form))
    });
}

const SCOPE: &str = "tunnel:kubernetes";
const SHARED: (&str, &str) = (CLUSTER, CLUSTER_ID);

#[test]
fn no_agent_connected() {
    with_tunnel(|env, tunnel| {
        tunnel.gateway.agent_token("idle", "cls-idle"); // known, and never there
        let token = tunnel
            .gateway
            .user_token("idle@example.com", "viewer", "idle", SCOPE);
        for form in [Form::Path, Form::Host] {
            says(
                &user(env, tunnel, &token, ("idle", "cls-idle"), form),
                &["agent", "connected", "idle"],
            );
        }
    });
}

#[test]
fn a_token_without_the_scope() {
    by_each_form(|env, tunnel, form| {
        let token =
            tunnel
                .gateway
                .user_token("grafana@example.com", "viewer", CLUSTER, "tunnel:grafana");
        says(&user(env, tunnel, &token, SHARED, form), &["scope", SCOPE]);
    });
}

#[test]
fn an_unknown_cluster() {
    by_each_form(|env, tunnel, form| {
        let token = tunnel
            .gateway
            .user_token("lost@example.com", "viewer", CLUSTER, SCOPE);
        says(
            &user(env, tunnel, &token, ("nosuch", "cls-nosuch"), form),
            &["cluster"],
        );
    });
}

#[test]
fn an_unknown_token() {
    by_each_form(|env, tunnel, form| {
        says(
            &user(env, tunnel, "no-such-token", SHARED, form),
            &["token"],
        )
    });
}

#[test]
fn a_revoked_token() {
    by_each_form(|env, tunnel, form| {
        let subject = format!("leaver-{form:?}@example.com");
        let token = tunnel
            .gateway
            .user_token(&subject, "viewer", CLUSTER, SCOPE);
        let kubectl = user(env, tunnel, &token, SHARED, form);
        kubectl.ok("get namespaces");
        let mut watch = kubectl.spawn("get namespaces --watch");
        watch.wait_text("pipeops-system");
        tunnel.gateway.revoke(&subject);
        says(&kubectl, &["token"]);
        watch.wait_exit(crate::common::DEADLINE); // a live stream ends with its token
    });
}

#[test]
fn the_api_server_refuses() {
    with_tunnel(|env, tunnel| {
        let file = temp_dir("dead").join("kubeconfig");
        let dead = format!("https://127.0.0.1:{}", crate::common::free_port());
        kubeconfig::write(
            &file,
            &dead,
            &env.cluster.ca,
            None,
            &json!({"token": "unused"}),
        );
        let _agent = AgentConfig::new(&tunnel.gateway, "dead", "cls-dead")
            .kubernetes(&file)
            .start();
        let token = tunnel
            .gateway
            .user_token("dead@example.com", "viewer", "dead", SCOPE);
        for form in [Form::Path, Form::Host] {
            says(
                &user(env, tunnel, &token, ("dead", "cls-dead"), form),
                &["refused"],
            );
        }
    });
}

#[test]
fn an_agent_that_comes_and_goes() {
    with_tunnel(|env, tunnel| {
        let config = AgentConfig::new(&tunnel.gateway, "brief", "cls-brief");
        let agent = config.kubernetes(&env.cluster.agent_kubeconfig()).start();
        let token = tunnel
            .gateway
            .user_token("brief@example.com", "viewer", "brief", SCOPE);
        let kubectl = user(env, tunnel, &token, ("brief", "cls-brief"), Form::Path);
        let mut watch = kubectl.spawn("get namespaces --watch");
        watch.wait_text("pipeops-system");
        drop(agent); // SIGKILL
        watch.wait_exit(crate::common::DEADLINE); // it ends, and does not hang
        crate::common::eventually(
            "the gateway to see that the agent is gone",
            crate::common::DEADLINE,
            || {
                let printed = kubectl.fails("get --raw /api/v1/namespaces");
                if printed.contains("connected") {
                    Ok(())
                } else {
                    Err(printed)
                }
            },
        );
        says(&kubectl, &["agent", "connected", "brief"]);
    });
}
