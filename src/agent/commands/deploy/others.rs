//! What goes with a namespace or a definition: everything in it, whoever it belongs to.

use kube::api::ListParams;
use serde_json::Value;

use super::calls::{CallError, Calls};
use super::item::Item;
use super::labels::PROJECT;
use super::names;

/// Where people have what they would miss. All kinds would be hundreds of questions.
///
/// Not among them: configuration, which Kubernetes itself puts into every namespace, and claims for volumes, which a
/// stateful set makes without the labels of its project.
const LOOKED_AT: [&str; 7] = [
    "apps/v1/deployments",
    "apps/v1/statefulsets",
    "apps/v1/daemonsets",
    "batch/v1/cronjobs",
    "batch/v1/jobs",
    "v1/services",
    "v1/pods",
];

/// Objects of one kind that are looked at: parts of workloads are among them, and say nothing.
const SOME: u32 = 100;

/// Something that would be deleted with it and is not the project's.
pub(super) async fn in_it(
    calls: &Calls<'_>,
    item: &Item,
    project: &str,
) -> Result<Option<String>, CallError> {
    let paths = if item.is_definition() {
        match instances(calls, item).await? {
            Some(path) => vec![path],
            None => {
                return Ok(Some(
                    "whatever there is of a kind that is not served".to_owned(),
                ));
            }
        }
    } else {
        in_namespace(&item.name)
    };
    let foreign = ListParams::default()
        .labels(&format!("{PROJECT}!={project}"))
        .limit(SOME);
    for path in paths {
        let list = calls.list_metadata(&path, &foreign).await;
        let list = match list {
            Err(error) if error.code() == Some(404) => continue,
            answer => answer?,
        };
        let kind = path.rsplit('/').next().unwrap_or_default();
        let mut items = list["items"].as_array().into_iter().flatten();
        if let Some(found) = items.find(|found| item.is_definition() || !is_part(found)) {
            let name = found["metadata"]["name"].as_str().unwrap_or_default();
            return Ok(Some(format!("{kind} '{name}'")));
        }
        let more = &list["metadata"]["continue"];
        if more.as_str().is_some_and(|more| !more.is_empty()) {
            return Ok(Some(format!("more {kind} than are looked at")));
        }
    }
    Ok(None)
}

fn in_namespace(namespace: &str) -> Vec<String> {
    let path = |entry: &str| {
        let (version, plural) = entry.rsplit_once('/')?;
        let root = if version.contains('/') { "apis" } else { "api" };
        Some(format!("/{root}/{version}/namespaces/{namespace}/{plural}"))
    };
    LOOKED_AT.iter().filter_map(|entry| path(entry)).collect()
}

/// The path of all objects of the kind that a definition defines.
async fn instances(calls: &Calls<'_>, item: &Item) -> Result<Option<String>, CallError> {
    let definition = calls.get(item, true).await?.unwrap_or_default();
    let spec = &definition["spec"];
    let versions = spec["versions"].as_array();
    let served = versions.and_then(|all| all.iter().find(|v| v["served"] == Value::Bool(true)));
    let path = || {
        let group = spec["group"].as_str()?;
        let plural = spec["names"]["plural"].as_str()?;
        let version = served?["name"].as_str()?;
        let usable = [group, version, plural].into_iter().all(names::is_domain);
        usable.then(|| format!("/apis/{group}/{version}/{plural}"))
    };
    Ok(path())
}

/// Whether it is part of a workload, which is looked at itself. What a custom resource owns is not: nobody looks at that.
fn is_part(object: &Value) -> bool {
    let workload = |owner: &Value| {
        let version = owner["apiVersion"].as_str().unwrap_or_default();
        version.starts_with("apps/") || version.starts_with("batch/")
    };
    let owners = object["metadata"]["ownerReferences"].as_array();
    owners.is_some_and(|owners| owners.iter().any(workload))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_of_workloads_are_not_looked_at_twice() {
        let owned = |version: &str| {
            is_part(&json!({"metadata": {"ownerReferences": [{"apiVersion": version}]}}))
        };
        assert!(owned("apps/v1") && owned("batch/v1"));
        assert!(!owned("postgresql.example.com/v1"));
        assert!(!is_part(&json!({"metadata": {}})));
    }

    #[test]
    fn paths_of_both_roots() {
        let paths = in_namespace("shop");
        assert_eq!(paths.len(), LOOKED_AT.len());
        assert!(paths.contains(&"/api/v1/namespaces/shop/pods".to_owned()));
        assert!(paths.contains(&"/apis/apps/v1/namespaces/shop/deployments".to_owned()));
    }
}
