use super::*;
use crate::gateway::store::redb::samples;
use crate::gateway::store::{AuditQuery, History, Store};
use std::os::unix::fs::PermissionsExt;

fn full(dir: &Path) -> Vec<u8> {
    let store = RedbStore::open(dir).unwrap();
    samples::fill(&store);
    dump(&store)
}

/// All lines but the first, which has the time.
fn dump(store: &RedbStore) -> Vec<u8> {
    let mut out = Vec::new();
    store.backup(&mut out).unwrap();
    out
}

fn records(backup: &[u8]) -> Vec<&[u8]> {
    let lines: Vec<_> = backup.split(|byte| *byte == b'\n').collect();
    lines[1..lines.len() - 2].to_vec()
}

fn now() -> Timestamp {
    "2026-11-28T20:30:00Z".parse().unwrap()
}

#[test]
fn what_was_backed_up_is_restored_with_its_indexes() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let backup = full(from.path());
    let restored = restore(to.path(), backup.as_slice(), false, now()).unwrap();
    assert_eq!((restored.aside, restored.problems), (None, vec![]));
    assert_eq!(
        RedbStore::check(to.path()).unwrap().problems,
        Vec::<String>::new()
    );
    let old = RedbStore::open(from.path()).unwrap();
    let new = RedbStore::open(to.path()).unwrap();
    assert_eq!(records(&dump(&new)), records(&backup));
    let cluster = "cls-1".parse().unwrap();
    let listed = |store: &RedbStore| store.list_deployments(&cluster, None, 9).unwrap();
    assert_eq!((listed(&new), listed(&new).len()), (listed(&old), 3));
    assert_eq!(
        new.unfinished_deployments().unwrap(),
        old.unfinished_deployments().unwrap()
    );
    let by_key = |store: &RedbStore| {
        store
            .deployment_by_key(&cluster, "key", samples::at(3))
            .unwrap()
    };
    assert!(by_key(&new).is_some() && by_key(&new) == by_key(&old));
    assert_eq!(new.append_audit(&[samples::entry(3)]).unwrap(), 3);
    let mode = fs::metadata(new.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 1);
}

#[test]
fn a_store_that_is_not_empty_needs_force_and_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let backup = full(dir.path());
    let error = restore(dir.path(), backup.as_slice(), false, now()).unwrap_err();
    assert!(matches!(error, RestoreError::NotEmpty { .. }), "{error}");
    let store = RedbStore::open(dir.path()).unwrap();
    store.append_audit(&[samples::entry(3)]).unwrap();
    let held = restore(dir.path(), backup.as_slice(), true, now()).unwrap_err();
    assert!(
        matches!(held, RestoreError::Store(StoreError::Locked { .. })),
        "{held}"
    );
    drop(store);

    let restored = restore(dir.path(), backup.as_slice(), true, now()).unwrap();
    let aside = restored.aside.unwrap();
    assert!(
        aside.ends_with("gateway.redb.before-restore-20261128T203000Z"),
        "{aside:?}"
    );
    let count = |store: RedbStore| {
        let query = AuditQuery {
            limit: 9,
            ..AuditQuery::default()
        };
        store.list_audit(&query).unwrap().items.len()
    };
    assert_eq!(count(RedbStore::open(dir.path()).unwrap()), 2);
    let other = tempfile::tempdir().unwrap();
    fs::rename(aside, other.path().join(RedbStore::FILE_NAME)).unwrap();
    assert_eq!(count(RedbStore::open(other.path()).unwrap()), 3);
}

#[test]
fn a_bad_backup_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let backup = full(dir.path());
    let before = fs::read(dir.path().join(RedbStore::FILE_NAME)).unwrap();
    let cut = &backup[..backup.len() - 30];
    let error = restore(dir.path(), cut, true, now()).unwrap_err();
    assert!(
        matches!(error, RestoreError::Backup(BackupFault::Truncated { .. })),
        "{error}"
    );
    let newer = String::from_utf8(backup)
        .unwrap()
        .replacen("\"schema\":2", "\"schema\":3", 1);
    let error = restore(dir.path(), newer.as_bytes(), true, now()).unwrap_err();
    assert!(
        matches!(
            error,
            RestoreError::NewerSchema {
                found: 3,
                supported: 2
            }
        ),
        "{error}"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(
        fs::read(dir.path().join(RedbStore::FILE_NAME))
            .unwrap()
            .len()
            >= before.len()
    );
    assert_eq!(
        RedbStore::open(dir.path())
            .unwrap()
            .load()
            .unwrap()
            .clusters
            .len(),
        2
    );
}

#[test]
fn a_damaged_store_is_replaced_with_force() {
    let (from, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let backup = full(from.path());
    let path = dir.path().join(RedbStore::FILE_NAME);
    let damaged = vec![b'x'; 9_000];
    fs::write(&path, &damaged).unwrap();
    let error = restore(dir.path(), backup.as_slice(), false, now()).unwrap_err();
    assert!(matches!(error, RestoreError::Unreadable(_)), "{error}");
    assert_eq!(fs::read(&path).unwrap(), damaged);
    let restored = restore(dir.path(), backup.as_slice(), true, now()).unwrap();
    assert_eq!(fs::read(restored.aside.unwrap()).unwrap(), damaged);
    assert_eq!(
        RedbStore::open(dir.path())
            .unwrap()
            .load()
            .unwrap()
            .tokens
            .len(),
        1
    );
}
