//! SIGKILL at random moments: what was said to be done is there, and nothing is half done.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use pipeops_tunnel::gateway::store::{
    AuditQuery, Contents, DeploymentState, History, RedbStore, Store,
};

use crate::common::{reaper, temp_dir};
use crate::writer::{self, cluster_id, deployment_id, manifest, token};

const ROUNDS: u32 = 40;
/// Microseconds from when the store is open until the kill, at most: some thirty changes.
const LONGEST: u64 = 120_000;

/// `PIPEOPS_SEED` runs the same moments again.
fn rng() -> Rng {
    let seed =
        std::env::var("PIPEOPS_SEED").map_or_else(|_| fastrand::u64(..), |s| s.parse().unwrap());
    println!("PIPEOPS_SEED={seed}");
    Rng::with_seed(seed)
}

/// What a writer said: its words by the number that they are about.
type Said = HashMap<u64, Vec<String>>;

/// Runs a writer and kills it after this long; before it has opened the store, where `early`.
fn killed(dir: &Path, from: u64, after: Duration, early: bool) -> Said {
    let mut child = writer::command(dir, from).spawn().unwrap();
    reaper::watch(child.id());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = Said::new();
    if !early {
        let opened = lines
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains("@ open"));
        assert!(opened, "the writer did not open the store");
    }
    let killer = thread::spawn(move || {
        thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap()
    });
    // A line that the kill cut in two was not said.
    for line in lines.map_while(Result::ok) {
        let words: Vec<_> = line.split_whitespace().collect();
        if let [.., "@", what, number] = words.as_slice()
            && *what != "open"
        {
            said.entry(number.parse().unwrap())
                .or_default()
                .push((*what).to_owned());
        }
    }
    assert!(
        !killer.join().unwrap().success(),
        "the writer ended by itself"
    );
    said
}

fn has(said: &Said, number: u64, what: &str) -> bool {
    said.get(&number)
        .is_some_and(|words| words.iter().any(|word| word == what))
}

/// Looks for all that was said, of all rounds so far.
fn look(dir: &Path, said: &Said) {
    let report = RedbStore::check(dir).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    let store = RedbStore::open(dir).unwrap();
    let Contents { clusters, tokens } = store.load().unwrap();
    let audited = store
        .list_audit(&AuditQuery {
            limit: 1,
            ..AuditQuery::default()
        })
        .unwrap();
    let entries = audited.items.first().map_or(0, |entry| entry.sequence);
    let said_entries = said
        .keys()
        .filter(|number| has(said, **number, "audit"))
        .count();
    assert!(entries >= 2 * u64::try_from(said_entries).unwrap() && entries.is_multiple_of(2));
    for number in said.keys().copied() {
        // A cluster that may have been removed later took its deployments along.
        let gone = said.keys().any(|later| {
            *later >= number
                && cluster_id(*later) == cluster_id(number)
                && has(said, *later, "removing")
        });
        if has(said, number, "token") {
            assert!(tokens.contains(&token(number)), "token {number}");
        }
        if gone {
            continue;
        }
        if has(said, number, "cluster") {
            assert!(
                clusters
                    .iter()
                    .any(|cluster| cluster.id.as_str() == cluster_id(number)),
                "cluster of {number}"
            );
        }
        if has(said, number, "deployment") {
            let found = store.deployment(deployment_id(number)).unwrap();
            let found = found.unwrap_or_else(|| panic!("deployment {number}"));
            assert_eq!(store.manifest(found.id).unwrap(), Some(manifest(number)));
            if has(said, number, "finished") {
                assert_eq!(found.state, DeploymentState::Succeeded, "{number}");
            }
        }
    }
}

#[test]
fn what_was_said_to_be_done_survives_any_kill() {
    let mut rng = rng();
    let dir = temp_dir("store-crash");
    let mut said = Said::new();
    let mut from = 0;
    for round in 0..ROUNDS {
        let after = Duration::from_micros(rng.u64(..LONGEST));
        said.extend(killed(&dir, from, after, false));
        look(&dir, &said);
        from = said.keys().max().map_or(0, |last| last + 1);
        println!("round {round}: killed after {after:?}, {from} numbers so far");
    }
    assert!(from > u64::from(ROUNDS), "the writer hardly wrote: {from}");
}

/// Version 1 of the layout, as its program left it: made by taking away what version 2 added.
fn version_1(dir: &Path) {
    use redb::{Database, TableDefinition};
    let store = RedbStore::open(dir).unwrap();
    store.put_token(&token(1)).unwrap();
    drop(store);
    let db = Database::open(dir.join(RedbStore::FILE_NAME)).unwrap();
    let txn = db.begin_write().unwrap();
    let tables: Vec<_> = txn.list_tables().unwrap().collect();
    for table in tables {
        use redb::TableHandle;
        if !["meta", "clusters", "tokens"].contains(&table.name()) {
            txn.delete_table(table).unwrap();
        }
    }
    let meta = TableDefinition::<&str, u64>::new("meta");
    txn.open_table(meta)
        .unwrap()
        .insert("schema_version", 1)
        .unwrap();
    txn.commit().unwrap();
}

#[test]
fn a_migration_that_is_killed_leaves_the_old_or_the_new() {
    let mut rng = rng();
    let template = temp_dir("store-v1");
    version_1(&template);
    let mut versions = [0, 0, 0];
    for _ in 0..ROUNDS {
        let dir = temp_dir("store-migration");
        fs::copy(
            template.join(RedbStore::FILE_NAME),
            dir.join(RedbStore::FILE_NAME),
        )
        .unwrap();
        killed(&dir, 0, Duration::from_micros(rng.u64(..60_000)), true);
        let report = RedbStore::check(&dir).unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        versions[usize::try_from(report.schema).unwrap()] += 1;
        let store = RedbStore::open(&dir).unwrap();
        assert!(store.load().unwrap().tokens.contains(&token(1)));
        fs::remove_dir_all(&dir).unwrap();
    }
    println!("versions after the kill: {versions:?}");
    assert_eq!(versions[0], 0);
}
