//! Records for the tests of the store.

pub(in crate::gateway::store) use super::tests::history::{at, deployment, keyed};
pub(in crate::gateway::store) use super::tests::log::entry;

use super::RedbStore;
use super::tests::{cluster, token};
use crate::gateway::store::{Added, History, Store};

/// Something of everything: two clusters, a token, three deployments, two entries of the audit log.
pub(in crate::gateway::store) fn fill(store: &RedbStore) {
    store.put_cluster(&cluster("cls-1")).unwrap();
    store.put_cluster(&cluster("cls-2")).unwrap();
    store.put_token(&token()).unwrap();
    for record in [
        deployment(1, "cls-1"),
        keyed(2, "key"),
        deployment(3, "cls-1"),
    ] {
        let manifest = "kind: ConfigMap\ndata: {quote: \"\\\"é\\u0000\"}\n";
        assert_eq!(store.add_deployment(&record, manifest).unwrap(), Added::New);
    }
    store.append_audit(&[entry(1), entry(2)]).unwrap();
}
