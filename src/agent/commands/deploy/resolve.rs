//! From documents to the objects that are applied: their kinds, namespaces and labels, and what the policy says.

use kube::core::ApiResource;
use serde_json::Value;

use super::calls::{CallError, Calls, Stop};
use super::documents::Document;
use super::fault::Fault;
use super::item::Item;
use super::kinds::{Kind, Kinds};
use super::labels;
use super::names;
use super::order;
use crate::agent::commands::policy::Policy;

/// For which project, and where.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) policy: &'a Policy,
    pub(super) project: &'a str,
    pub(super) namespace: &'a str,
}

/// Why a command ends before anything is changed.
#[derive(Debug)]
pub(super) enum End {
    /// It, or the cluster as it is, is at fault.
    Faults(Vec<Fault>),
    /// See [`Stop`].
    Stop(Stop),
}

impl From<Stop> for End {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Faults(vec![fault])
    }
}

impl From<CallError> for End {
    fn from(error: CallError) -> Self {
        match error.fault() {
            Ok(fault) => fault.into(),
            Err(stop) => stop.into(),
        }
    }
}

impl Scope<'_> {
    /// What can be said of the command without its objects.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if !names::is_label_value(self.project) {
            let message = "project_id is no value of a label: 1 to 63 letters, digits, '-', '_' and '.', \
                a letter or digit first and last";
            return Err(Fault::invalid(message).field("project_id"));
        }
        if !names::is_namespace(self.namespace) {
            let message = "namespace is no name of a namespace: 1 to 63 small letters, digits and '-', \
                a letter or digit first and last";
            return Err(Fault::invalid(message).field("namespace"));
        }
        let allowed = self.policy.check_write(self.namespace);
        allowed.map_err(|error| Fault::policy(error).field("namespace"))
    }

    /// The namespace of an object that says it is in `written`, and whether the policy lets it be touched.
    pub(super) fn place(
        &self,
        kind: &Kind,
        written: Option<&str>,
        name: &str,
    ) -> Result<Option<String>, Fault> {
        let ApiResource { group, kind: k, .. } = &kind.resource;
        if let Some(other) = written
            && other != self.namespace
        {
            let message = format!(
                "the object is to go to the namespace '{other}', and the command is for '{}'",
                self.namespace
            );
            return Err(Fault::invalid(message).field("metadata.namespace"));
        }
        self.policy
            .check_kind(group, k, kind.namespaced, self.namespace, name)
            .map_err(|error| Fault::policy(error).field("kind"))?;
        Ok(kind.namespaced.then(|| self.namespace.to_owned()))
    }
}

/// The objects in the order in which they are to be applied.
pub(super) async fn resolve(
    scope: Scope<'_>,
    calls: &Calls<'_>,
    documents: Vec<Document>,
) -> Result<Vec<Item>, End> {
    let mut kinds = Kinds::with_definitions(&documents);
    let own_namespace = documents.iter().any(|document| {
        order::is_namespace(&document.group, &document.kind) && document.name == scope.namespace
    });
    let mut items: Vec<Item> = Vec::with_capacity(documents.len());
    let mut faults = Vec::new();
    for mut document in documents {
        let kind = kinds
            .find(calls, &document.group, &document.version, &document.kind)
            .await?;
        let checked = known(kind, &document).and_then(|kind| prepare(scope, &kind, &mut document));
        match checked {
            Ok(mut item) => {
                item.own_namespace = own_namespace && item.namespace.is_some();
                faults.extend(twice(&items, &item));
                items.push(item);
            }
            Err(fault) => faults.push(document.fault(fault)),
        }
    }
    if !faults.is_empty() {
        return Err(End::Faults(faults));
    }
    items.sort_by_key(Item::rank);
    Ok(items)
}

fn known(kind: Option<Kind>, document: &Document) -> Result<Kind, Fault> {
    let Document { kind: name, .. } = document;
    let written = document.object.get("apiVersion").and_then(Value::as_str);
    let api_version = written.unwrap_or_default();
    let Some(kind) = kind else {
        let message = format!(
            "the cluster has no kind '{name}' of apiVersion '{api_version}', and no document defines it"
        );
        return Err(Fault::invalid(message).field("kind"));
    };
    if kind.can("patch") {
        Ok(kind)
    } else {
        let message = format!("objects of kind {name} can not be applied");
        Err(Fault::invalid(message).field("kind"))
    }
}

fn prepare(scope: Scope<'_>, kind: &Kind, document: &mut Document) -> Result<Item, Fault> {
    let namespace = scope.place(kind, document.namespace.as_deref(), &document.name)?;
    labels::set(document, scope.project)?;
    let mut object = Value::Object(std::mem::take(&mut document.object));
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        match &namespace {
            Some(namespace) => {
                metadata.insert("namespace".to_owned(), namespace.as_str().into());
            }
            None => {
                metadata.remove("namespace");
            }
        }
    }
    Ok(Item {
        document: Some((document.number, document.line)),
        object,
        resource: kind.resource.clone(),
        name: document.name.clone(),
        namespace,
        own_kind: kind.own,
        own_namespace: false,
    })
}

/// The same object, described twice: which one is meant?
fn twice(items: &[Item], item: &Item) -> Option<Fault> {
    let same = |other: &&Item| {
        other.resource.group == item.resource.group
            && other.resource.kind == item.resource.kind
            && other.name == item.name
    };
    let (number, _) = items.iter().find(same)?.document?;
    let message = format!("the same object is described by document {number}, too");
    Some(item.fault(Fault::invalid(message).field("metadata.name")))
}
