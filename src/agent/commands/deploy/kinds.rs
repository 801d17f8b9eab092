//! Which kinds the API server has, asked for one group and version at a time; and those that a manifest brings.

use std::collections::HashMap;

use kube::core::ApiResource;
use serde_json::Value;

use super::calls::{CallError, Calls};
use super::documents::Document;
use super::names;
use super::order;

/// A kind, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) resource: ApiResource,
    pub(super) namespaced: bool,
    /// What can be done with it: `patch`, `delete`.
    verbs: Vec<String>,
    /// Defined by a document of the same manifest.
    pub(super) own: bool,
}

impl Kind {
    pub(super) fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|own| own == verb)
    }
}

/// What was asked so far.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    /// By group and version; empty where the API server has none such.
    served: HashMap<(String, String), Vec<Kind>>,
    own: Vec<Kind>,
}

impl Kinds {
    /// Knows of what the definitions among the documents define.
    pub(super) fn with_definitions(documents: &[Document]) -> Self {
        let own = documents
            .iter()
            .filter(|document| order::is_definition(&document.group, &document.kind));
        Self {
            served: HashMap::new(),
            own: own.flat_map(defined).collect(),
        }
    }

    /// None where there is no such kind.
    pub(super) async fn find(
        &mut self,
        calls: &Calls<'_>,
        group: &str,
        version: &str,
        kind: &str,
    ) -> Result<Option<Kind>, CallError> {
        let is = |known: &&Kind| {
            let resource = &known.resource;
            resource.group == group && resource.version == version && resource.kind == kind
        };
        if let Some(own) = self.own.iter().find(is) {
            return Ok(Some(own.clone()));
        }
        let key = (group.to_owned(), version.to_owned());
        if !self.served.contains_key(&key) {
            let path = if group.is_empty() {
                format!("/api/{version}")
            } else {
                format!("/apis/{group}/{version}")
            };
            let list = calls.look_up(&path).await?;
            let kinds = list.map(|list| served(&list, group, version));
            self.served.insert(key.clone(), kinds.unwrap_or_default());
        }
        let served = self.served.get(&key);
        Ok(served.and_then(|kinds| kinds.iter().find(is).cloned()))
    }
}

/// What an `APIResourceList` has, without subresources.
fn served(list: &Value, group: &str, version: &str) -> Vec<Kind> {
    let resources = list["resources"].as_array().into_iter().flatten();
    let kinds = resources.filter_map(|resource| {
        let plural = resource["name"].as_str()?;
        let verbs = resource["verbs"].as_array().into_iter().flatten();
        Some(Kind {
            resource: api_resource(group, version, resource["kind"].as_str()?, plural)?,
            namespaced: resource["namespaced"].as_bool()?,
            verbs: verbs.filter_map(Value::as_str).map(str::to_owned).collect(),
            own: false,
        })
    });
    kinds.collect()
}

/// What a `CustomResourceDefinition` defines, one for each version that is served.
fn defined(document: &Document) -> Vec<Kind> {
    let Some(spec) = document.object.get("spec") else {
        return Vec::new();
    };
    let versions = spec["versions"].as_array().into_iter().flatten();
    let served = versions.filter(|version| version["served"] != Value::Bool(false));
    let kinds = served.filter_map(|version| {
        let group = spec["group"].as_str()?;
        let kind = spec["names"]["kind"].as_str()?;
        let plural = spec["names"]["plural"].as_str()?;
        Some(Kind {
            resource: api_resource(group, version["name"].as_str()?, kind, plural)?,
            namespaced: spec["scope"] == "Namespaced",
            verbs: vec!["patch".to_owned(), "delete".to_owned()],
            own: true,
        })
    });
    kinds.collect()
}

/// None for a subresource, and for what is no name.
fn api_resource(group: &str, version: &str, kind: &str, plural: &str) -> Option<ApiResource> {
    let api_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    names::group_version(&api_version)?;
    (names::is_domain(plural) && names::is_kind(kind)).then(|| ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::documents::read;
    use super::*;

    #[test]
    fn subresources_are_no_kinds() {
        let list = json!({"resources": [
            {"name": "deployments", "kind": "Deployment", "namespaced": true, "verbs": ["get", "patch"]},
            {"name": "deployments/scale", "kind": "Scale", "namespaced": true, "verbs": ["patch"]},
        ]});
        let found = served(&list, "apps", "v1");
        assert_eq!(found.len(), 1);
        assert!(found[0].can("patch") && !found[0].can("delete"));
        assert_eq!(found[0].resource.api_version, "apps/v1");
    }

    #[test]
    fn a_definition_is_known_before_it_is_applied() {
        let documents = read(
            "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: a}, \
             spec: {group: example.com, scope: Cluster, names: {kind: Thing, plural: things}, \
             versions: [{name: v1, served: true}, {name: v0, served: false}, {name: ../x}]}}",
        )
        .unwrap();
        let kinds = Kinds::with_definitions(&documents);
        assert_eq!(kinds.own.len(), 1);
        assert!(kinds.own[0].own && !kinds.own[0].namespaced);
        assert_eq!(kinds.own[0].resource.plural, "things");
    }
}
