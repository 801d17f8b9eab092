//! What a client wants to have applied.

use data_encoding::HEXLOWER;
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::gateway::api::field;
use crate::gateway::platform::caller::Caller;
use crate::gateway::store::{
    ClusterRecord, DeploymentId, DeploymentRecord, DeploymentState, Idempotency,
};
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::limits::MAX_MANIFEST;

/// An agent that has just lost its connection gets it after this, or not at all.
const EXPIRES: SignedDuration = SignedDuration::from_mins(5);

/// The header (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The label that says whose an object is.
const PROJECT_LABEL: &str = "/metadata/labels/pipeops.io~1project";

/// The project of an object that names none.
const NO_PROJECT: &str = "default";

/// What is to be applied.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewDeployment {
    /// Whose the objects are: the label `pipeops.io/project` of all of them.
    #[schema(example = "proj-123")]
    #[serde(alias = "projectId")]
    project_id: String,
    /// YAML or JSON of one or more documents; at most 1 MiB.
    #[schema(
        example = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: greeting}\ndata: {text: hello}\n"
    )]
    manifest: String,
    /// Where all that has a namespace goes; `default` when missing.
    #[serde(default)]
    namespace: Option<String>,
    /// Have the cluster's API try it, and apply nothing.
    #[serde(default, alias = "dryRun")]
    dry_run: bool,
    /// How long the rollout may take; the agent's limit when missing.
    #[serde(default, alias = "timeoutSeconds")]
    timeout_seconds: Option<u64>,
}

/// The record of a new deployment, and its manifest.
///
/// # Errors
/// 400 with the field that breaks its rule, 413 for too large a manifest.
pub(super) fn read(
    caller: &Caller,
    cluster: &ClusterRecord,
    fields: &HeaderMap,
    body: &[u8],
) -> Result<(DeploymentRecord, String), ApiError> {
    let new = parse(body)?;
    check(&new)?;
    let now = Timestamp::now();
    let id = DeploymentId::generate(now).map_err(|_| {
        ApiError::new(
            ErrorCode::Internal,
            "the system has no random numbers: try again",
        )
    })?;
    let mut record = DeploymentRecord {
        id,
        cluster: cluster.id.clone(),
        project_id: new.project_id,
        namespace: new.namespace.unwrap_or_else(|| "default".to_owned()),
        dry_run: new.dry_run,
        timeout_ms: new
            .timeout_seconds
            .map(|seconds| seconds.saturating_mul(1000)),
        expires_at: now.checked_add(EXPIRES).ok(),
        requested_by: caller.as_requester()?,
        idempotency: idempotency(fields, body)?,
        instance: None,
        state: DeploymentState::Pending,
        message: String::new(),
        error: None,
        objects: Vec::new(),
        created_at: now,
        updated_at: now,
        finished_at: None,
        history: Vec::new(),
    };
    record.advance(DeploymentState::Pending, "it waits for the agent", now);
    Ok((record, new.manifest))
}

/// Either form of the body.
fn parse(body: &[u8]) -> Result<NewDeployment, ApiError> {
    let bad = |error: serde_json::Error| {
        ApiError::new(
            ErrorCode::InvalidRequest,
            format!("the body is not what this path takes: {error}"),
        )
        .with_detail("field", "body")
    };
    let value: Value = serde_json::from_slice(body).map_err(bad)?;
    let text = |pointer: &str| {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    if value.get("apiVersion").is_none() || value.get("kind").is_none() {
        return serde_json::from_value(value).map_err(bad);
    }
    let in_template = format!("/spec/template{PROJECT_LABEL}");
    let project = text(PROJECT_LABEL).or_else(|| text(&in_template));
    Ok(NewDeployment {
        project_id: project.unwrap_or_else(|| NO_PROJECT.to_owned()),
        namespace: text("/metadata/namespace"),
        manifest: String::from_utf8_lossy(body).into_owned(),
        dry_run: false,
        timeout_seconds: None,
    })
}

fn check(new: &NewDeployment) -> Result<(), ApiError> {
    if new.manifest.len() > MAX_MANIFEST {
        return Err(ApiError::new(
            ErrorCode::PayloadTooLarge,
            format!(
                "the manifest has {} bytes, above the limit of {MAX_MANIFEST}",
                new.manifest.len()
            ),
        )
        .with_detail("field", "manifest"));
    }
    if new.manifest.trim().is_empty() {
        return Err(field("manifest", "manifest", &"is empty"));
    }
    if !is_label(&new.project_id) {
        let rule = "must be a Kubernetes label value: 1 to 63 of A-Z a-z 0-9 - _ . with a letter or digit at each end";
        return Err(field("project_id", "project id", &rule));
    }
    if let Some(namespace) = &new.namespace
        && !is_namespace(namespace)
    {
        return Err(field(
            "namespace",
            "namespace",
            &"must match pattern ^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        ));
    }
    Ok(())
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let ends = [text.bytes().next(), text.bytes().last()];
    let ends = ends
        .into_iter()
        .all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()));
    text.len() <= 63 && ends && text.bytes().all(inner)
}

fn is_namespace(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn idempotency(fields: &HeaderMap, body: &[u8]) -> Result<Option<Idempotency>, ApiError> {
    let Some(key) = fields.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let key = key.to_str().unwrap_or_default();
    if !(1..=128).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let rule = "must be 1 to 128 visible ASCII characters";
        return Err(field("Idempotency-Key", "Idempotency-Key", &rule));
    }
    Ok(Some(Idempotency {
        key: key.to_owned(),
        digest: HEXLOWER.encode(&Sha256::digest(body)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(value: &Value) -> Result<NewDeployment, ApiError> {
        let new = parse(value.to_string().as_bytes())?;
        check(&new)?;
        Ok(new)
    }

    #[test]
    fn a_manifest_as_json_says_where_and_whose_it_is() {
        let new = of(&json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "a", "namespace": "shop"},
            "spec": {"template": {"metadata": {"labels": {"pipeops.io/project": "proj-123"}}}}}))
        .unwrap();
        assert_eq!(
            (new.project_id.as_str(), new.namespace.as_deref()),
            ("proj-123", Some("shop"))
        );
        assert!(new.manifest.contains("\"Deployment\""));
        let new = of(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}))
            .unwrap();
        assert_eq!((new.project_id.as_str(), new.namespace), (NO_PROJECT, None));
    }

    #[test]
    fn the_sdks_forms_are_taken() {
        for project in ["project_id", "projectId"] {
            let new =
                of(&json!({project: "proj-123", "manifest": "x", "namespace": "default"})).unwrap();
            assert_eq!(new.project_id, "proj-123");
        }
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        for (value, name) in [
            (json!({"project_id": "-", "manifest": "x"}), "project_id"),
            (json!({"project_id": "p", "manifest": " "}), "manifest"),
            (
                json!({"project_id": "p", "manifest": "x", "namespace": "Shop"}),
                "namespace",
            ),
            (
                json!({"project_id": "p", "manifest": "x", "colour": 1}),
                "body",
            ),
            (json!({"manifest": "x"}), "body"),
            (json!([]), "body"),
        ] {
            assert_eq!(of(&value).unwrap_err().details["field"], name, "{value}");
        }
        let large = json!({"project_id": "p", "manifest": "x".repeat(MAX_MANIFEST + 1)});
        assert_eq!(of(&large).unwrap_err().code, ErrorCode::PayloadTooLarge);
    }
}
