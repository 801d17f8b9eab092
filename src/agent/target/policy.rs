//! What the agent lets pass to the cluster's API, whatever the gateway says.

use http::Method;

use crate::agent::config::IdentityMode;
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::head::RequestHead;

/// The service account of a role; a role that is none of these gets no request (fails closed).
pub(in crate::agent) fn service_account(namespace: &str, role: &str) -> Result<String, ApiError> {
    match role {
        "viewer" | "editor" | "admin" => {
            Ok(format!("system:serviceaccount:{namespace}:pipeops-{role}"))
        }
        _ => Err(ApiError::new(
            ErrorCode::Forbidden,
            format!("the agent maps no account to the role '{role}'"),
        )),
    }
}

/// Refuses what changes anything where only reading is allowed.
pub(super) fn check_read_only(
    head: &RequestHead,
    read_only: bool,
    identity: IdentityMode,
) -> Result<(), ApiError> {
    let viewer = identity == IdentityMode::Agent && head.identity.role == "viewer";
    if !(read_only || viewer) || is_reading(head) {
        return Ok(());
    }
    let why = if read_only {
        "this cluster is served read-only"
    } else {
        "the role viewer may only read"
    };
    Err(ApiError::new(
        ErrorCode::Forbidden,
        format!("{why}: {} is not let through by the agent", head.method),
    ))
}

/// Whether a request only reads. `exec`, `attach`, `portforward` and `proxy` act although they can
/// be a GET; reviews of one's own rights are a POST that stores nothing.
fn is_reading(head: &RequestHead) -> bool {
    let path = head.target.split('?').next().unwrap_or_default();
    match head.method {
        Method::GET | Method::HEAD | Method::OPTIONS => head.upgrade.is_none() && !acts(path),
        Method::POST => matches!(
            path,
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
                | "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
                | "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        ),
        _ => false,
    }
}

fn acts(path: &str) -> bool {
    path.split('/').any(|part| {
        let part = percent_decoded(part);
        ["exec", "attach", "portforward", "proxy"].contains(&part.as_str())
    })
}

/// Decodes what the API server would decode when it takes the path apart.
fn percent_decoded(part: &str) -> String {
    let mut bytes = part.bytes();
    let mut decoded = Vec::with_capacity(part.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digits = [
            bytes.next().unwrap_or_default(),
            bytes.next().unwrap_or_default(),
        ];
        match data_encoding::HEXLOWER_PERMISSIVE
            .decode(&digits)
            .ok()
            .as_deref()
        {
            Some(&[value]) => decoded.push(value),
            _ => decoded.extend([byte, digits[0], digits[1]]),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::head::Identity;
    use http::HeaderMap;

    fn head(method: &str, target: &str, upgrade: Option<&str>) -> RequestHead {
        RequestHead {
            method: method.parse().unwrap(),
            service: "kubernetes".into(),
            target: target.into(),
            prefix: String::new(),
            host: String::new(),
            identity: Identity {
                role: "viewer".into(),
                ..Identity::default()
            },
            request_id: String::new(),
            upgrade: upgrade.map(str::to_owned),
            end: true,
            headers: HeaderMap::new(),
        }
    }

    #[test]
    fn a_role_without_an_account_gets_nothing() {
        assert_eq!(
            service_account("ns", "editor").unwrap(),
            "system:serviceaccount:ns:pipeops-editor"
        );
        for role in ["", "root", "Viewer", "admin:x"] {
            assert!(service_account("ns", role).is_err(), "{role}");
        }
    }

    #[test]
    fn reading_passes_where_only_reading_is_allowed() {
        let passes = [
            ("GET", "/api/v1/namespaces/a/pods?watch=true"),
            ("GET", "/api/v1/namespaces/a/pods/p/log?follow=true"),
            (
                "POST",
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            ),
        ];
        for (method, target) in passes {
            assert!(
                check_read_only(&head(method, target, None), true, IdentityMode::Agent).is_ok(),
                "{target}"
            );
        }
    }

    #[test]
    fn acting_is_refused_where_only_reading_is_allowed() {
        let refused = [
            ("DELETE", "/api/v1/namespaces/a/pods/p", None),
            ("PATCH", "/api/v1/namespaces/a/pods/p", None),
            ("POST", "/api/v1/namespaces/a/pods?dryRun=All", None),
            (
                "GET",
                "/api/v1/namespaces/a/pods/p/exec?command=sh",
                Some("websocket"),
            ),
            ("GET", "/api/v1/namespaces/a/pods/p/exec?command=sh", None),
            ("GET", "/api/v1/namespaces/a/pods/p/%65xec?command=sh", None),
            ("GET", "/api/v1/namespaces/a/services/s:80/proxy/x", None),
            (
                "POST",
                "/api/v1/namespaces/a/pods/p/portforward",
                Some("SPDY/3.1"),
            ),
        ];
        for (method, target, upgrade) in refused {
            assert!(
                check_read_only(
                    &head(method, target, upgrade),
                    true,
                    IdentityMode::Impersonate
                )
                .is_err(),
                "{target}"
            );
            // A viewer without impersonation is held to the same.
            assert!(
                check_read_only(&head(method, target, upgrade), false, IdentityMode::Agent)
                    .is_err(),
                "{target}"
            );
            // With impersonation the cluster's own rules decide.
            assert!(
                check_read_only(
                    &head(method, target, upgrade),
                    false,
                    IdentityMode::Impersonate
                )
                .is_ok(),
                "{target}"
            );
        }
    }
}
