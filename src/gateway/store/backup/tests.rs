use super::*;
use crate::gateway::store::redb::samples;
use crate::gateway::store::{Added, AuditQuery, History, RedbStore, Store};

/// A store with something of everything.
fn backup() -> (Vec<u8>, Counts) {
    let dir = tempfile::tempdir().unwrap();
    let store = RedbStore::open(dir.path()).unwrap();
    samples::fill(&store);
    let mut out = Vec::new();
    let counts = store.backup(&mut out).unwrap();
    (out, counts)
}

fn fault(bytes: &[u8]) -> BackupFault {
    verify(bytes).unwrap_err()
}

#[test]
fn a_backup_reads_back() {
    let (bytes, counts) = backup();
    assert_eq!(verify(bytes.as_slice()).unwrap(), counts);
    assert_eq!(
        counts.to_string(),
        "2 clusters, 1 tokens, 3 deployments, 2 audit entries"
    );
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with(r#"{"format":"pipeops-gateway-backup","version":1,"schema":2,"#));
    assert_eq!(text.lines().count(), 2 + 2 + 1 + 3 + 3 + 2);
    assert!(
        text.lines()
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
    );
}

#[test]
fn every_cut_is_seen() {
    let (bytes, _) = backup();
    for end in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
        let fault = fault(&bytes[..end]);
        assert!(
            matches!(fault, BackupFault::Truncated { .. } | BackupFault::Other),
            "{end}: {fault}"
        );
    }
    let whole_lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let without_last = whole_lines[..whole_lines.len() - 1].concat();
    assert!(matches!(
        fault(&without_last),
        BackupFault::Truncated { .. }
    ));
    let mut without_one = whole_lines;
    without_one.remove(4);
    assert!(matches!(
        fault(&without_one.concat()),
        BackupFault::Damaged { .. }
    ));
}

#[test]
fn every_changed_byte_is_seen() {
    let (bytes, _) = backup();
    for position in (0..bytes.len()).step_by(3) {
        let mut changed = bytes.clone();
        changed[position] ^= 1;
        assert!(verify(changed.as_slice()).is_err(), "{position}");
    }
    let more = [&bytes[..], b"{}\n"].concat();
    assert!(verify(more.as_slice()).is_err());
}

#[test]
fn another_file_or_a_newer_format_is_told() {
    assert!(matches!(fault(b""), BackupFault::Other));
    assert!(matches!(fault(&[0xff; 5000]), BackupFault::Other));
    assert!(matches!(fault(b"{\"format\":\"x\"}\n"), BackupFault::Other));
    let newer = b"{\"format\":\"pipeops-gateway-backup\",\"version\":2}\n";
    assert!(matches!(fault(newer), BackupFault::Newer { found: 2 }));
    let endless = io::BufReader::new(io::repeat(b'x'));
    assert!(matches!(verify(endless).unwrap_err(), BackupFault::Other));
}

#[derive(Debug)]
struct Full(usize);

impl io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self
            .0
            .checked_sub(bytes.len())
            .ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_for_the_backup_leaves_the_store_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = RedbStore::open(dir.path()).unwrap();
    samples::fill(&store);
    for room in [0, 10, 300, 1000] {
        let error = store.backup(&mut Full(room)).unwrap_err();
        assert!(matches!(error, BackupError::Write(_)), "{error}");
    }
    assert_eq!(store.load().unwrap().tokens.len(), 1);
}

#[test]
fn a_backup_is_of_one_moment() {
    /// Writes to the store whenever a line is taken.
    struct Busy<'a>(&'a RedbStore, Vec<u8>);
    impl io::Write for Busy<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let minute = 1_000 + i64::try_from(self.1.len()).unwrap();
            let added = self
                .0
                .add_deployment(&samples::deployment(minute, "cls-1"), "x");
            assert_eq!(added.unwrap(), Added::New);
            self.0.append_audit(&[samples::entry(1)]).unwrap();
            self.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let store = RedbStore::open(dir.path()).unwrap();
    samples::fill(&store);
    let mut busy = Busy(&store, Vec::new());
    let counts = store.backup(&mut busy).unwrap();
    assert_eq!(
        (counts.deployments, counts.manifests, counts.audit),
        (3, 3, 2)
    );
    assert_eq!(verify(busy.1.as_slice()).unwrap(), counts);
    let query = AuditQuery {
        limit: 1,
        ..AuditQuery::default()
    };
    assert!(store.list_audit(&query).unwrap().items[0].sequence > 20);
}
