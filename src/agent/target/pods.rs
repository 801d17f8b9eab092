//! What the service `commands` lets pass: the log of a pod and programs in one, within the agent's policy for commands.

use http::Method;

use crate::agent::commands::Policy;
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::head::RequestHead;

/// Refuses everything but `GET …/pods/{pod}/log` and `…/exec` where the policy allows it.
pub(super) fn check(head: &RequestHead, policy: &Policy) -> Result<(), ApiError> {
    let path = head.target.split('?').next().unwrap_or_default();
    let mut parts = path.split('/');
    let start = [parts.next(), parts.next(), parts.next(), parts.next()];
    let (namespace, pods, pod) = (parts.next(), parts.next(), parts.next());
    let (Some(namespace), Some(pod), Some(what), None) =
        (namespace, pod, parts.next(), parts.next())
    else {
        return Err(no_command());
    };
    let known =
        start == [Some(""), Some("api"), Some("v1"), Some("namespaces")] && pods == Some("pods");
    // No name has anything that would have to be encoded, or that could be read as another path.
    let plain = |name: &str| {
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
        !name.is_empty() && !name.starts_with('.') && name.bytes().all(allowed)
    };
    if !known || head.method != Method::GET || !plain(namespace) || !plain(pod) {
        return Err(no_command());
    }
    let allowed = match (what, head.upgrade.is_some()) {
        ("log", false) => policy.check_read(namespace),
        ("exec", true) => policy.check_exec(namespace),
        _ => return Err(no_command()),
    };
    allowed.map_err(|error| ApiError::new(ErrorCode::Forbidden, error.message))
}

fn no_command() -> ApiError {
    ApiError::new(
        ErrorCode::Forbidden,
        "the agent's service for commands reads logs and runs programs in pods, and nothing else",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::CommandsConfig;
    use crate::wire::head::Identity;
    use http::HeaderMap;

    fn head(method: &str, target: &str, upgrade: bool) -> RequestHead {
        RequestHead {
            method: method.parse().unwrap(),
            service: "commands".into(),
            target: target.into(),
            prefix: String::new(),
            host: String::new(),
            identity: Identity::default(),
            request_id: String::new(),
            upgrade: upgrade.then(|| "websocket".to_owned()),
            end: true,
            headers: HeaderMap::new(),
        }
    }

    #[test]
    fn logs_and_programs_pass_and_nothing_else() {
        let policy = Policy::new(&CommandsConfig::default());
        check(
            &head("GET", "/api/v1/namespaces/a/pods/b/log?follow=true", false),
            &policy,
        )
        .unwrap();
        check(
            &head("GET", "/api/v1/namespaces/a/pods/b/exec?command=x", true),
            &policy,
        )
        .unwrap();
        for (method, target, upgrade) in [
            ("POST", "/api/v1/namespaces/a/pods/b/exec", true),
            ("GET", "/api/v1/namespaces/a/pods/b/exec", false),
            ("GET", "/api/v1/namespaces/a/pods/b/log", true),
            ("GET", "/api/v1/namespaces/a/pods/b", false),
            ("GET", "/api/v1/namespaces/a/secrets/b/log", false),
            ("GET", "/api/v1/namespaces/a/pods/b/log/c", false),
            ("GET", "/api/v1/namespaces/../pods/b/log", false),
            ("GET", "/api/v1/namespaces/a/pods/%2e%2e/log", false),
            ("GET", "/api/v1/namespaces/a/pods/b/portforward", true),
            ("GET", "/apis/v1/namespaces/a/pods/b/log", false),
            ("GET", "", false),
        ] {
            check(&head(method, target, upgrade), &policy).unwrap_err();
        }
    }

    #[test]
    fn the_policy_is_asked_for_the_namespace() {
        let policy = Policy::new(&CommandsConfig {
            namespaces: vec!["a".into()],
            exec: false,
            ..CommandsConfig::default()
        });
        check(
            &head("GET", "/api/v1/namespaces/a/pods/b/log", false),
            &policy,
        )
        .unwrap();
        check(
            &head("GET", "/api/v1/namespaces/c/pods/b/log", false),
            &policy,
        )
        .unwrap_err();
        check(
            &head("GET", "/api/v1/namespaces/a/pods/b/exec", true),
            &policy,
        )
        .unwrap_err();
    }
}
