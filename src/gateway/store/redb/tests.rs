//! Tests of the embedded store; `samples` lends its records to the tests beside.

pub(super) mod history;
pub(super) mod log;

use super::tables::{META, SCHEMA_KEY};
use super::*;
use crate::gateway::store::{ClusterAccess, SecretHash};
use crate::gateway::store::{History, restore};
use crate::wire::token::{TokenId, TokenKind};
use jiff::Timestamp;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;

pub(in crate::gateway::store) fn cluster(id: &str) -> ClusterRecord {
    let name = format!("{id}-name").parse().unwrap();
    ClusterRecord::new(id.parse().unwrap(), name, Timestamp::UNIX_EPOCH)
}

pub(in crate::gateway::store) fn token() -> TokenRecord {
    TokenRecord {
        id: TokenId::from_random([3; 10]),
        kind: TokenKind::Agent,
        hash: SecretHash::of("secret"),
        subject: "one".parse().unwrap(),
        role: None,
        clusters: ClusterAccess::List(vec!["cls-1".parse().unwrap()]),
        scopes: vec![],
        created_at: Timestamp::UNIX_EPOCH,
        expires_at: None,
        revoked_at: None,
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn records_survive_reopening_and_files_are_private() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("state");
    let store = RedbStore::open(&dir).unwrap();
    store.put_cluster(&cluster("cls-1")).unwrap();
    store.put_cluster(&cluster("cls-2")).unwrap();
    store.remove_cluster(&cluster("cls-2").id).unwrap();
    store.remove_cluster(&cluster("cls-3").id).unwrap();
    store.put_token(&token()).unwrap();
    let revoked = TokenRecord {
        revoked_at: Some(Timestamp::UNIX_EPOCH),
        ..token()
    };
    store.put_token(&revoked).unwrap();
    drop(store);

    let store = RedbStore::open(&dir).unwrap();
    let contents = store.load().unwrap();
    assert_eq!(contents.clusters, [cluster("cls-1")]);
    assert_eq!(contents.tokens, [revoked]);
    assert_eq!(store.schema_version().unwrap(), SCHEMA);
    assert_eq!(
        (mode(&dir), mode(&dir.join(RedbStore::FILE_NAME))),
        (0o700, 0o600)
    );
}

#[test]
fn a_second_opener_is_told_who_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let _first = RedbStore::open(dir.path()).unwrap();
    let error = RedbStore::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert!(
        error.to_string().contains("gateway.redb is in use"),
        "{error}"
    );
}

#[test]
fn a_newer_layout_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let store = RedbStore::open(dir.path()).unwrap();
    store
        .write(|txn| {
            txn.open_table(META)?.insert(SCHEMA_KEY, SCHEMA + 1)?;
            Ok(())
        })
        .unwrap();
    drop(store);
    let error = RedbStore::open(dir.path()).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::NewerSchema {
                found: 3,
                supported: 2,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_damaged_file_or_record_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(RedbStore::FILE_NAME);
    fs::write(
        &path,
        "not a database, but long enough to have a header".repeat(100),
    )
    .unwrap();
    let error = RedbStore::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Corrupted { .. }), "{error}");

    fs::remove_file(&path).unwrap();
    let store = RedbStore::open(dir.path()).unwrap();
    store
        .write(|txn| {
            txn.open_table(TOKENS)?.insert("x", b"{".as_slice())?;
            Ok(())
        })
        .unwrap();
    let error = store.load().unwrap_err();
    assert!(error.to_string().contains("record 'x'"), "{error}");
}

#[test]
fn opens_again_after_an_io_error() {
    let dir = tempfile::tempdir().unwrap();
    let store = RedbStore::open(dir.path()).unwrap();
    let failed = store
        .read::<()>(|_| {
            let full = std::io::ErrorKind::StorageFull;
            Err(redb::Error::Io(full.into()).into())
        })
        .unwrap_err();
    assert!(matches!(failed, StoreError::DiskFull { .. }), "{failed}");
    store.put_token(&token()).unwrap();
    assert_eq!(store.load().unwrap().tokens.len(), 1);
}

#[test]
fn a_path_that_cannot_be_a_directory_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = RedbStore::open(&file.path().join("state")).unwrap_err();
    assert!(error.to_string().contains("state"), "{error}");
}

/// As version 1 of the layout was written.
fn version_1(dir: &Path) {
    let db = open_database(&dir.join(RedbStore::FILE_NAME)).unwrap();
    let txn = db.begin_write().unwrap();
    {
        let record =
            json!({"id": "cls-1", "name": "cls-1-name", "created_at": Timestamp::UNIX_EPOCH});
        let mut clusters = txn.open_table(CLUSTERS).unwrap();
        clusters
            .insert("cls-1", record.to_string().as_bytes())
            .unwrap();
        let mut tokens = txn.open_table(TOKENS).unwrap();
        let json = serde_json::to_vec(&token()).unwrap();
        tokens.insert(token().id.as_str(), json.as_slice()).unwrap();
        let mut meta = txn.open_table(META).unwrap();
        meta.insert(SCHEMA_KEY, 1).unwrap();
    }
    txn.commit().unwrap();
}

#[test]
fn version_1_is_brought_up_to_date_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    version_1(dir.path());
    let report = RedbStore::check(dir.path()).unwrap();
    assert_eq!((report.schema, report.problems.len()), (1, 0));
    let mut before = Vec::new();
    let old = RedbStore::open_existing(dir.path()).unwrap();
    old.backup(&mut before).unwrap();
    drop(old);

    for _ in 0..2 {
        let store = RedbStore::open(dir.path()).unwrap();
        assert_eq!(store.schema_version().unwrap(), 2);
        let contents = store.load().unwrap();
        assert_eq!(contents.clusters, [cluster("cls-1")]);
        assert_eq!(contents.tokens, [token()]);
        assert!(store.unfinished_deployments().unwrap().is_empty());
        assert_eq!(store.list_audit(&Default::default()).unwrap().items, []);
    }
    let report = RedbStore::check(dir.path()).unwrap();
    assert_eq!((report.schema, report.problems.len()), (2, 0));

    // The backup of the old one fits the new program.
    let fresh = tempfile::tempdir().unwrap();
    restore(fresh.path(), before.as_slice(), false, Timestamp::now()).unwrap();
    let store = RedbStore::open(fresh.path()).unwrap();
    assert_eq!(store.load().unwrap().tokens, [token()]);
}

#[test]
fn a_migration_that_fails_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    version_1(dir.path());
    let store = RedbStore::open_existing(dir.path()).unwrap();
    let failed = store.write::<()>(|txn| {
        tables::migrate(txn)?;
        Err(Fault::record("x", "the power is cut"))
    });
    assert!(failed.is_err());
    drop(store);
    assert_eq!(RedbStore::check(dir.path()).unwrap().schema, 1);
}

#[test]
fn a_store_that_is_not_there_is_not_made_by_looking() {
    let dir = tempfile::tempdir().unwrap();
    let error = RedbStore::open_existing(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    assert!(RedbStore::check(dir.path()).is_err());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn fields_of_a_newer_version_are_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let store = RedbStore::open(dir.path()).unwrap();
    let mut newer = serde_json::to_value(cluster("cls-1")).unwrap();
    newer["invented_later"] = json!([1]);
    store.put(CLUSTERS, "cls-1", &newer).unwrap();
    assert_eq!(store.load().unwrap().clusters, [cluster("cls-1")]);

    let mut record = cluster("cls-1");
    record.labels.insert("env".into(), "prod".into());
    record.description = Some("the shop".into());
    store.put_cluster(&record).unwrap();
    assert_eq!(store.load().unwrap().clusters, [record]);
}

#[test]
fn check_names_what_does_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let store = RedbStore::open(dir.path()).unwrap();
    store.put_token(&token()).unwrap();
    store
        .write(|txn| {
            let mut deployments = tables::Deployments::open(txn)?;
            deployments.put(&history::deployment(1, "cls-9"))?;
            deployments.by_cluster.insert(("cls-9", "dep_gone"), ())?;
            txn.open_table(tables::AUDIT)?.insert(7, b"{".as_slice())?;
            Ok(())
        })
        .unwrap();
    drop(store);
    let report = RedbStore::check(dir.path()).unwrap();
    let told = report.problems.join("\n");
    for part in [
        "for the cluster 'cls-1', which is not there",
        "of the cluster 'cls-9', which is not there",
        "has no manifest",
        "the place in a cluster of the deployment 'dep_gone'",
        "audit entry '7' cannot be read",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(report.problems.len(), 5, "{told}");
}
