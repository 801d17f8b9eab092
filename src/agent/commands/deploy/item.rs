//! One object, and where the API server has it.

use kube::core::{ApiResource, DynamicObject, Resource, Status};
use serde_json::Value;

use super::fault::{Fault, shortened};
use super::order;
use crate::wire::control::{ObjectRef, ObjectStatus};

/// Bytes of one object's reason: a few lines of Kubernetes' own words, and [`MAX_OBJECTS`](super::documents::MAX_OBJECTS)
/// of them still fit into a message.
const MAX_REASON: usize = 1_024;

/// One object of a command.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// The document that it stands in; none for an object that is only referred to.
    pub(super) document: Option<(usize, u64)>,
    pub(super) object: Value,
    pub(super) resource: ApiResource,
    pub(super) name: String,
    /// None for what has no namespace.
    pub(super) namespace: Option<String>,
    /// Its kind is defined by this same manifest.
    pub(super) own_kind: bool,
    /// Its namespace is in this same manifest.
    pub(super) own_namespace: bool,
}

impl Item {
    pub(super) fn rank(&self) -> usize {
        order::rank(&self.resource.group, &self.resource.kind)
    }

    pub(super) fn is_namespace(&self) -> bool {
        order::is_namespace(&self.resource.group, &self.resource.kind)
    }

    pub(super) fn is_definition(&self) -> bool {
        order::is_definition(&self.resource.group, &self.resource.kind)
    }

    /// The path of its kind in its namespace.
    pub(super) fn path(&self) -> String {
        self.path_in(self.namespace.as_deref())
    }

    pub(super) fn path_in(&self, namespace: Option<&str>) -> String {
        DynamicObject::url_path(&self.resource, namespace)
    }

    pub(super) fn reference(&self) -> ObjectRef {
        ObjectRef {
            api_version: self.resource.api_version.clone(),
            kind: self.resource.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    /// Before its turn.
    pub(super) fn status(&self) -> ObjectStatus {
        ObjectStatus {
            object: self.reference(),
            action: None,
            ready: false,
            reason: None,
        }
    }

    /// A fault of this object.
    pub(super) fn fault(&self, fault: Fault) -> Fault {
        let fault = fault.object(&self.resource.kind, &self.name);
        match self.document {
            Some((number, line)) => fault.of_document(number).at(line, 1),
            None => fault,
        }
    }

    /// Whether a refusal passes, since what the object needs is on its way: an API server learns of a new kind after a
    /// moment, and a new namespace gets its default account after one.
    pub(super) fn comes_about(&self, status: &Status) -> bool {
        let account = || status.message.contains("error looking up service account");
        self.own_kind && status.code == 404 || self.own_namespace && status.code == 403 && account()
    }
}

/// A reason of a size that many fit into one message.
pub(super) fn reason(text: impl Into<String>) -> Option<String> {
    Some(shortened(text.into(), MAX_REASON))
}
