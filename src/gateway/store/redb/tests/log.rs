use super::history::{at, open, sound};
use super::*;
use crate::gateway::store::redb::tables::AUDIT;
use crate::gateway::store::{AuditOutcome, AuditQuery, AuditRecord};

pub(in crate::gateway::store) fn entry(number: u64) -> AuditRecord {
    let odd = number % 2 == 1;
    AuditRecord {
        sequence: 0,
        at: at(1),
        subject: odd.then(|| "alice".parse().unwrap()),
        token_id: None,
        peer: "127.0.0.1".into(),
        request_id: format!("req-{number}"),
        action: "deployment.create".into(),
        cluster: number.is_multiple_of(3).then(|| "cls-1".parse().unwrap()),
        target: "dep".into(),
        outcome: AuditOutcome::Allowed,
        status: 202,
        details: Default::default(),
    }
}

fn numbers(store: &RedbStore, query: AuditQuery) -> Vec<u64> {
    let (mut query, mut found) = (query, Vec::new());
    loop {
        let page = store.list_audit(&query).unwrap();
        assert!(page.items.len() <= query.limit);
        found.extend(page.items.iter().map(|entry| {
            assert_eq!(entry.request_id, format!("req-{}", entry.sequence));
            entry.sequence
        }));
        query.before = page.next;
        if query.before.is_none() {
            return found;
        }
    }
}

#[test]
fn the_audit_log_is_numbered_filtered_and_paged() {
    let (dir, store) = open(&[]);
    assert_eq!(store.append_audit(&[]).unwrap(), 0);
    let entries: Vec<_> = (1..=40).map(entry).collect();
    assert_eq!(store.append_audit(&entries[..15]).unwrap(), 15);
    drop(store);
    let store = RedbStore::open(dir.path()).unwrap();
    assert_eq!(store.append_audit(&entries[15..]).unwrap(), 40);
    let query = AuditQuery {
        limit: 7,
        ..Default::default()
    };
    assert_eq!(
        numbers(&store, query.clone()),
        (1..=40).rev().collect::<Vec<_>>()
    );
    let alice = AuditQuery {
        subject: Some("alice".parse().unwrap()),
        ..query
    };
    assert_eq!(
        numbers(&store, alice.clone()),
        (1..=40).rev().filter(|n| n % 2 == 1).collect::<Vec<_>>()
    );
    let both = AuditQuery {
        cluster: Some("cls-1".parse().unwrap()),
        before: Some(22),
        ..alice
    };
    assert_eq!(numbers(&store, both), [21, 15, 9, 3]);
    sound(dir, store);
}

#[test]
fn the_audit_log_forgets_its_oldest_and_looks_at_so_much() {
    let (dir, store) = open(&[]);
    let filled = store.write(|txn| {
        let mut log = txn.open_table(AUDIT)?;
        for number in 1..=MAX_AUDIT + 10 {
            let record = AuditRecord {
                sequence: number,
                ..entry(number)
            };
            log.insert(number, encode("x", &record)?.as_slice())?;
        }
        Ok(())
    });
    filled.unwrap();
    assert_eq!(
        store.append_audit(&[entry(MAX_AUDIT + 11)]).unwrap(),
        MAX_AUDIT + 11
    );
    let query = AuditQuery {
        limit: 10,
        ..Default::default()
    };
    let last = store
        .list_audit(&AuditQuery {
            before: Some(14),
            ..query.clone()
        })
        .unwrap();
    let left: Vec<_> = last.items.iter().map(|entry| entry.sequence).collect();
    assert_eq!((left, last.next), (vec![13, 12], None));
    let nobody = AuditQuery {
        subject: Some("nobody".parse().unwrap()),
        ..query
    };
    let page = store.list_audit(&nobody).unwrap();
    assert_eq!(
        (page.items.len(), page.next),
        (0, Some(MAX_AUDIT + 11 - 19_999))
    );
    assert!(numbers(&store, nobody).is_empty());
    sound(dir, store);
}
