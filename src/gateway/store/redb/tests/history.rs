use super::*;
use crate::gateway::store::redb::retention::LAST;
use crate::gateway::store::redb::tables::{BY_CLUSTER, KEY_AGES, KEYS, MANIFESTS};
use crate::gateway::store::{
    Added, DeploymentId, DeploymentRecord, DeploymentState, Idempotency, RequestedBy,
};
use jiff::SignedDuration;
use redb::ReadableTableMetadata;

pub(in crate::gateway::store) fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + minutes * 60).unwrap()
}

/// One that waits, made in this minute.
pub(in crate::gateway::store) fn deployment(minute: i64, cluster: &str) -> DeploymentRecord {
    let now = at(minute);
    let mut record = DeploymentRecord {
        id: DeploymentId::from_random(now, [7; 8]),
        cluster: cluster.parse().unwrap(),
        project_id: "shop".into(),
        namespace: "default".into(),
        dry_run: false,
        timeout_ms: None,
        expires_at: None,
        requested_by: RequestedBy {
            subject: "alice".parse().unwrap(),
            token_id: TokenId::from_random([3; 10]),
            role: crate::wire::token::Role::Editor,
        },
        idempotency: None,
        instance: None,
        state: DeploymentState::Pending,
        message: String::new(),
        error: None,
        objects: vec![],
        created_at: now,
        updated_at: now,
        finished_at: None,
        history: vec![],
    };
    record.advance(DeploymentState::Pending, "waits for an agent", now);
    record
}

fn finished(minute: i64, cluster: &str) -> DeploymentRecord {
    let mut record = deployment(minute, cluster);
    record.advance(DeploymentState::Succeeded, "", at(minute));
    record
}

pub(in crate::gateway::store) fn keyed(minute: i64, key: &str) -> DeploymentRecord {
    DeploymentRecord {
        idempotency: Some(Idempotency {
            key: key.into(),
            digest: "d".into(),
        }),
        ..finished(minute, "cls-1")
    }
}

pub(super) fn open(clusters: &[&str]) -> (tempfile::TempDir, RedbStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = RedbStore::open(dir.path()).unwrap();
    for id in clusters {
        store.put_cluster(&cluster(id)).unwrap();
    }
    (dir, store)
}

fn add(store: &RedbStore, record: &DeploymentRecord) {
    assert_eq!(store.add_deployment(record, "kind: x").unwrap(), Added::New);
}

/// Without the syncs of one transaction each.
fn add_many(store: &RedbStore, records: impl Iterator<Item = DeploymentRecord>) {
    let filled = store.write(|txn| {
        let mut deployments = tables::Deployments::open(txn)?;
        for record in records {
            deployments.put(&record)?;
            deployments.put_key(&record)?;
            deployments
                .manifests
                .insert(record.id.as_str(), "kind: x")?;
        }
        Ok(())
    });
    filled.unwrap();
}

/// Rows of the tables about deployments.
fn rows(store: &RedbStore) -> [u64; 5] {
    store
        .read(|txn| {
            Ok([
                txn.open_table(tables::DEPLOYMENTS)?.len()?,
                txn.open_table(MANIFESTS)?.len()?,
                txn.open_table(BY_CLUSTER)?.len()?,
                txn.open_table(KEYS)?.len()?,
                txn.open_table(KEY_AGES)?.len()?,
            ])
        })
        .unwrap()
}

pub(super) fn sound(dir: tempfile::TempDir, store: RedbStore) {
    drop(store);
    let report = RedbStore::check(dir.path()).unwrap();
    assert_eq!((&report.problems[..], report.repaired), (&[][..], false));
}

#[test]
fn lists_are_newest_first_and_page_without_gaps() {
    let (dir, store) = open(&["a", "b", "b0"]);
    let mut mine: Vec<_> = (0..23).map(|minute| deployment(minute, "b")).collect();
    for (minute, record) in (0..).zip(&mine) {
        add(&store, record);
        add(
            &store,
            &DeploymentRecord {
                id: DeploymentId::from_random(at(minute), [8; 8]),
                ..deployment(minute, "a")
            },
        );
        add(
            &store,
            &DeploymentRecord {
                id: DeploymentId::from_random(at(minute), [9; 8]),
                ..deployment(minute, "b0")
            },
        );
    }
    mine.reverse();
    let cluster = "b".parse().unwrap();
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let page = store.list_deployments(&cluster, before, 5).unwrap();
        before = page.last().map(|record| record.id);
        found.extend(page);
        if before.is_none() {
            break;
        }
    }
    assert_eq!(found, mine);
    assert_eq!(
        store
            .list_deployments(&"c".parse().unwrap(), None, 5)
            .unwrap(),
        []
    );
    assert_eq!(
        store.deployment(mine[4].id).unwrap().as_ref(),
        Some(&mine[4])
    );
    assert_eq!(
        store.manifest(mine[4].id).unwrap().as_deref(),
        Some("kind: x")
    );
    let none = DeploymentId::first_at(at(0));
    assert_eq!(
        (
            store.deployment(none).unwrap(),
            store.manifest(none).unwrap()
        ),
        (None, None)
    );
    assert!(LAST > "dep_v");
    sound(dir, store);
}

#[test]
fn unfinished_ones_are_found_until_they_end() {
    let (dir, store) = open(&["cls-1"]);
    let (mut first, second) = (deployment(1, "cls-1"), deployment(2, "cls-1"));
    add(&store, &second);
    add(&store, &first);
    let ids = |store: &RedbStore| -> Vec<_> {
        let all = store.unfinished_deployments().unwrap();
        all.iter().map(|record| record.id).collect()
    };
    assert_eq!(ids(&store), [first.id, second.id]);
    first.advance(DeploymentState::Failed, "no", at(3));
    assert!(store.put_deployment(&first).unwrap());
    assert_eq!(ids(&store), [second.id]);
    first.advance(DeploymentState::Pruning, "", at(4));
    assert!(store.put_deployment(&first).unwrap());
    assert_eq!(ids(&store), [first.id, second.id]);
    assert_eq!(store.deployment(first.id).unwrap(), Some(first.clone()));
    assert_eq!(
        store.manifest(first.id).unwrap().as_deref(),
        Some("kind: x")
    );
    assert!(!store.put_deployment(&deployment(9, "cls-1")).unwrap());
    assert_eq!(store.deployment(deployment(9, "cls-1").id).unwrap(), None);
    sound(dir, store);
}

#[test]
fn a_key_is_good_for_a_day_and_one_deployment() {
    let (dir, store) = open(&["cls-1", "cls-2"]);
    let first = keyed(0, "k");
    add(&store, &first);
    let existing = |added| matches!(added, Added::Existing(found) if *found == first);
    assert!(existing(
        store.add_deployment(&keyed(5, "k"), "other").unwrap()
    ));
    assert!(existing(store.add_deployment(&first, "again").unwrap()));
    add(&store, &keyed(6, "another"));
    add(
        &store,
        &DeploymentRecord {
            cluster: "cls-2".parse().unwrap(),
            ..keyed(7, "k")
        },
    );
    let cluster = "cls-1".parse().unwrap();
    let by_key = |minute| store.deployment_by_key(&cluster, "k", at(minute)).unwrap();
    assert_eq!(by_key(24 * 60 - 1), Some(first.clone()));
    assert_eq!(by_key(24 * 60), None);

    let next_day = keyed(24 * 60, "k");
    add(&store, &next_day);
    assert_eq!(by_key(24 * 60 + 1), Some(next_day));
    assert_eq!(rows(&store), [4, 4, 4, 3, 3]);
    add(&store, &finished(3 * 24 * 60, "cls-1"));
    assert_eq!(rows(&store), [5, 5, 5, 0, 0]);
    sound(dir, store);
}

#[test]
fn a_cluster_keeps_so_many_and_those_under_way() {
    let (dir, store) = open(&["cls-1", "cls-2"]);
    let keep = i64::try_from(KEEP_DEPLOYMENTS).unwrap();
    let under_way = [deployment(0, "cls-1"), deployment(3, "cls-1")];
    add_many(&store, under_way.iter().cloned());
    add_many(
        &store,
        [1, 2]
            .into_iter()
            .map(|minute| keyed(minute, &minute.to_string())),
    );
    add_many(&store, (4..keep).map(|minute| finished(minute, "cls-1")));
    let other = DeploymentRecord {
        id: DeploymentId::first_at(at(0)),
        ..finished(0, "cls-2")
    };
    add(&store, &other);
    assert_eq!(rows(&store)[0], 501);
    for minute in [keep, keep + 1, keep + 2] {
        add(&store, &finished(minute, "cls-1"));
    }
    // The newest 500, an older one that is under way, and the other cluster's.
    assert_eq!(rows(&store), [502, 502, 502, 0, 0]);
    for kept in under_way.iter().chain([&other]) {
        assert!(store.deployment(kept.id).unwrap().is_some());
    }
    for gone in [1, 2] {
        assert_eq!(store.deployment(finished(gone, "cls-1").id).unwrap(), None);
    }
    assert!(store.deployment(finished(4, "cls-1").id).unwrap().is_some());
    sound(dir, store);
}

#[test]
fn what_has_ended_is_kept_for_thirty_days() {
    let (dir, store) = open(&["cls-1", "cls-2"]);
    let day = 24 * 60;
    add_many(&store, (0..200).map(|minute| finished(minute, "cls-2")));
    let waits = deployment(1_000, "cls-2");
    add(&store, &waits);
    add(&store, &finished(29 * day, "cls-1"));
    assert_eq!(rows(&store)[0], 202);
    // Adding removes some, of any cluster.
    add(&store, &finished(31 * day, "cls-1"));
    assert_eq!(rows(&store)[0], 203 - 64);
    assert_eq!(store.prune(at(31 * day)).unwrap(), 200 - 64);
    assert_eq!(rows(&store)[0], 3);
    assert_eq!(
        store
            .prune(at(31 * day) + SignedDuration::from_hours(1))
            .unwrap(),
        0
    );
    assert_eq!(store.unfinished_deployments().unwrap(), [waits]);
    sound(dir, store);
}

#[test]
fn a_cluster_goes_with_its_deployments_and_no_others() {
    let (dir, store) = open(&["cls-1", "cls-10"]);
    add_many(
        &store,
        (0..150).map(|minute| keyed(minute, &minute.to_string())),
    );
    let waits = deployment(500, "cls-1");
    add(&store, &waits);
    let other = finished(600, "cls-10");
    add(&store, &other);
    store.remove_cluster(&"cls-1".parse().unwrap()).unwrap();
    assert_eq!(rows(&store), [1, 1, 1, 0, 0]);
    assert_eq!(store.load().unwrap().clusters, [cluster("cls-10")]);
    assert_eq!(store.deployment(other.id).unwrap(), Some(other));
    // Word of one that was under way brings nothing back.
    assert!(!store.put_deployment(&waits).unwrap());
    assert_eq!(store.add_deployment(&waits, "x").unwrap(), Added::NoCluster);
    store.remove_cluster(&"cls-1".parse().unwrap()).unwrap();
    sound(dir, store);
}
