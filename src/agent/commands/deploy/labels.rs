//! By what the objects of a project are known.

use serde_json::{Map, Value};

use super::documents::Document;
use super::fault::Fault;

/// Set to [`MANAGER`] on all that is deployed.
pub(super) const MANAGED_BY: &str = "managed-by";
/// The value of [`MANAGED_BY`].
pub(super) const MANAGER: &str = "pipeops";
/// Set to the project's id on all that is deployed, and on the pods of workloads.
pub(super) const PROJECT: &str = "pipeops.io/project";

/// Sets the labels of a project. Selectors are left as they are.
///
/// # Errors
/// Where a label names another project, or is in the way of ours.
pub(super) fn set(document: &mut Document, project: &str) -> Result<(), Fault> {
    let pods = pod_template(&document.group, &document.kind);
    let metadata = child(&mut document.object, "metadata", "metadata")?;
    let labels = child(metadata, "labels", "metadata.labels")?;
    set_project(labels, project, "metadata.labels")?;
    labels.insert(MANAGED_BY.to_owned(), MANAGER.into());
    let Some(path) = pods else {
        return Ok(());
    };
    let mut at = String::new();
    let mut inner = &mut document.object;
    for field in path {
        at.push_str(field);
        // What has no template is the API server's to refuse.
        match inner.get_mut(*field) {
            Some(Value::Object(found)) => inner = found,
            _ => return Ok(()),
        }
        at.push('.');
    }
    at.push_str("metadata");
    let metadata = child(inner, "metadata", &at)?;
    at.push_str(".labels");
    set_project(child(metadata, "labels", &at)?, project, &at)
}

fn set_project(labels: &mut Map<String, Value>, project: &str, at: &str) -> Result<(), Fault> {
    if let Some(written) = labels.get(PROJECT)
        && written != project
    {
        let message = format!(
            "{at} has {PROJECT}: {written}, and this is a command for '{project}'; leave the label out, or give its project_id"
        );
        return Err(Fault::invalid(message).field(at));
    }
    labels.insert(PROJECT.to_owned(), project.into());
    Ok(())
}

/// The map with this name, which is made where there is none.
fn child<'map>(
    map: &'map mut Map<String, Value>,
    field: &str,
    at: &str,
) -> Result<&'map mut Map<String, Value>, Fault> {
    let entry = map.entry(field).or_insert(Value::Null);
    if entry.is_null() {
        *entry = Value::Object(Map::new());
    }
    entry
        .as_object_mut()
        .ok_or_else(|| Fault::invalid(format!("{at} is no map")).field(at))
}

/// Where a workload describes its pods.
fn pod_template(group: &str, kind: &str) -> Option<&'static [&'static str]> {
    match (group, kind) {
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job")
        | ("", "ReplicationController") => Some(&["spec", "template"]),
        ("batch", "CronJob") => Some(&["spec", "jobTemplate", "spec", "template"]),
        _ => None,
    }
}

/// The project that an object of the cluster says it belongs to.
pub(super) fn project(object: &Value) -> Option<&str> {
    label(object, PROJECT)
}

/// Whether an object of the cluster was deployed for this project.
pub(super) fn is_ours(object: &Value, project: &str) -> bool {
    label(object, MANAGED_BY) == Some(MANAGER) && label(object, PROJECT) == Some(project)
}

fn label<'object>(object: &'object Value, name: &str) -> Option<&'object str> {
    object.get("metadata")?.get("labels")?.get(name)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::super::documents::read;
    use super::*;

    fn labelled(text: &str) -> Result<Value, Fault> {
        let mut document = read(text).unwrap().remove(0);
        set(&mut document, "proj-123")?;
        Ok(Value::Object(document.object))
    }

    #[test]
    fn objects_and_pods_get_the_labels_and_selectors_do_not() {
        let found = labelled(
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, labels: {tier: x}}, \
             spec: {selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}, spec: {}}}}",
        )
        .unwrap();
        let labels = &found["metadata"]["labels"];
        assert_eq!(labels["tier"], "x");
        assert_eq!(labels[MANAGED_BY], "pipeops");
        assert!(is_ours(&found, "proj-123") && !is_ours(&found, "proj-12"));
        let pods = &found["spec"]["template"]["metadata"]["labels"];
        assert_eq!(pods[PROJECT], "proj-123");
        assert_eq!(pods.get(MANAGED_BY), None);
        assert_eq!(
            found["spec"]["selector"]["matchLabels"]
                .as_object()
                .unwrap()
                .len(),
            1
        );
    }

    #[test]
    fn a_cron_job_has_its_template_deeper() {
        let found = labelled(
            "{apiVersion: batch/v1, kind: CronJob, metadata: {name: a, labels: null}, \
             spec: {jobTemplate: {spec: {template: {spec: {}}}}}}",
        )
        .unwrap();
        let template = &found["spec"]["jobTemplate"]["spec"]["template"];
        assert_eq!(template["metadata"]["labels"][PROJECT], "proj-123");
    }

    #[test]
    fn a_template_that_is_none_is_left_to_the_api_server() {
        labelled("{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: 1}").unwrap();
    }

    #[test]
    fn another_projects_label_is_refused() {
        let error = labelled(
            "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {pipeops.io/project: other}}}",
        )
        .unwrap_err();
        assert!(error.message.contains("proj-123"), "{error:?}");
        let error = labelled("{apiVersion: v1, kind: Pod, metadata: {name: a, labels: []}}");
        assert!(error.unwrap_err().message.contains("no map"));
    }
}
