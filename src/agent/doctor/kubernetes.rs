//! The cluster's own API: whether it answers, and whether the agent's account may do what
//! `deploy/manifests` lets it do.

use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::report::Finding;
use crate::agent::cluster::Cluster;
use crate::agent::config::{AgentConfig, IdentityMode, KUBERNETES};
use crate::agent::target::{check_kubernetes, kube_config};
use crate::config::Period;

/// The roles of user tokens; each is an account of its own in the cluster.
const ROLES: [&str; 3] = ["viewer", "editor", "admin"];

const APPLY: &str =
    "apply the accounts and roles of the agent: `kubectl apply -k deploy/manifests`";

/// Looks at the cluster. On a thread of its own, since a kubeconfig may name a program to run.
pub(super) async fn check(config: &AgentConfig, limit: Duration) -> Vec<Finding> {
    if !config.kubernetes.enabled {
        return vec![Finding::skipped(
            KUBERNETES,
            "-",
            "kubernetes.enabled is false",
        )];
    }
    let (send, receive) = oneshot::channel();
    let config = config.clone();
    let spawned = thread::Builder::new()
        .name("kubernetes".to_owned())
        .spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            let found = runtime.map_err(|error| error.to_string()).map(|runtime| {
                let found = runtime.block_on(look(&config, limit));
                runtime.shutdown_background();
                found
            });
            // Whoever asked may have given up.
            drop(send.send(found));
        });
    let why = match spawned {
        // The configuration, the question, and the permissions: a limit for each.
        Ok(_) => match timeout(limit * 3, receive).await {
            Ok(Ok(Ok(found))) => return found,
            Ok(Ok(Err(why))) => why,
            Ok(Err(_)) => "the check has failed".to_owned(),
            Err(_) => format!(
                "no answer within {}; a credential plugin of the kubeconfig may hang",
                Period(limit * 3)
            ),
        },
        Err(error) => error.to_string(),
    };
    vec![unreachable("-", &why)]
}

fn unreachable(target: &str, why: &str) -> Finding {
    let action = "check kubernetes.kubeconfig and kubernetes.context, or in a pod that its account's token is mounted \
        (automountServiceAccountToken); or set kubernetes.enabled to false";
    Finding::failed(KUBERNETES, target, why, action)
}

async fn look(config: &AgentConfig, limit: Duration) -> Vec<Finding> {
    if let Err(why) = check_kubernetes(&config.kubernetes).await {
        return vec![unreachable("-", &why)];
    }
    let cluster = match Cluster::probe(&config.kubernetes, limit).await {
        Ok(cluster) => cluster,
        Err(error) => return vec![unreachable("-", &error.to_string())],
    };
    let user = cluster.user.as_deref().unwrap_or("an unknown user");
    let details = format!("{}, as {user}", cluster.version);
    let mut found = vec![Finding::ok(KUBERNETES, &cluster.server, details)];
    match config.kubernetes.identity {
        IdentityMode::Impersonate => found.extend(permissions(config, limit).await),
        IdentityMode::Agent => found.push(Finding::skipped(
            "permission",
            "impersonate",
            "kubernetes.identity is agent: requests are made as the account above, with whatever it may do",
        )),
    }
    found
}

async fn permissions(config: &AgentConfig, limit: Duration) -> Vec<Finding> {
    let client = match kube_config(&config.kubernetes).await {
        Ok(kube) => Client::try_from(kube).map_err(|error| error.to_string()),
        Err(why) => Err(why),
    };
    let client = match client {
        Ok(client) => client,
        Err(why) => return vec![unreachable("-", &why)],
    };
    let namespace = &config.agent.namespace;
    let needed = ROLES
        .map(|role| account(namespace, role))
        .into_iter()
        .chain([subject()]);
    let (needed, wide) = tokio::join!(
        join_all(needed.map(|(what, ask)| may(client.clone(), what, ask, limit))),
        may(client.clone(), "everything".to_owned(), everything(), limit),
    );
    let mut found: Vec<_> = needed
        .into_iter()
        .map(|(what, may)| judge(&what, may))
        .collect();
    if matches!(wide, (_, Ok(Answer { allowed: true, .. }))) {
        found.push(Finding::warning(
            "permission",
            "everything",
            "this account may do everything in the cluster, and the agent needs nothing but to impersonate",
            "run the agent as the account pipeops-agent of deploy/manifests",
        ));
    }
    found
}

fn judge(what: &str, may: Result<Answer, String>) -> Finding {
    match may {
        Ok(Answer { allowed: true, .. }) => Finding::ok("permission", what, "allowed"),
        Ok(Answer { reason, .. }) => {
            let details = match reason {
                Some(reason) => format!("not allowed: {reason}"),
                None => "not allowed".to_owned(),
            };
            Finding::failed("permission", what, details, APPLY)
        }
        Err(why) => Finding::failed("permission", what, why, APPLY),
    }
}

/// To act as the account of a role.
fn account(namespace: &str, role: &str) -> (String, ResourceAttributes) {
    let name = format!("pipeops-{role}");
    let ask = ResourceAttributes {
        verb: Some("impersonate".to_owned()),
        resource: Some("serviceaccounts".to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.clone()),
        ..ResourceAttributes::default()
    };
    (format!("impersonate {namespace}/{name}"), ask)
}

/// To say on whose behalf.
fn subject() -> (String, ResourceAttributes) {
    let ask = ResourceAttributes {
        verb: Some("impersonate".to_owned()),
        group: Some("authentication.k8s.io".to_owned()),
        resource: Some("userextras".to_owned()),
        subresource: Some("pipeops.io/subject".to_owned()),
        ..ResourceAttributes::default()
    };
    ("impersonate userextras/pipeops.io/subject".to_owned(), ask)
}

fn everything() -> ResourceAttributes {
    let any = Some("*".to_owned());
    ResourceAttributes {
        verb: any.clone(),
        group: any.clone(),
        resource: any,
        ..ResourceAttributes::default()
    }
}

/// What the cluster says to whether we may.
struct Answer {
    allowed: bool,
    reason: Option<String>,
}

async fn may(
    client: Client,
    what: String,
    ask: ResourceAttributes,
    limit: Duration,
) -> (String, Result<Answer, String>) {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ask),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api = Api::<SelfSubjectAccessReview>::all(client);
    let answer = match timeout(limit, api.create(&PostParams::default(), &review)).await {
        Ok(Ok(review)) => Ok(review.status.map_or(
            Answer {
                allowed: false,
                reason: None,
            },
            |status| Answer {
                allowed: status.allowed,
                reason: status.reason.filter(|reason| !reason.is_empty()),
            },
        )),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {}", Period(limit))),
    };
    (what, answer)
}
