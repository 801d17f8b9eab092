use super::*;
use serde_json::json;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

#[test]
fn ids_sort_by_time_and_read_back() {
    let mut ids = Vec::new();
    for millis in [0, 1, 31, 32, 1 << 20, 1_764_363_600_000, 1_764_363_600_001] {
        let high = DeploymentId::from_random(at(millis), [0xff; 8]);
        let low = DeploymentId::first_at(at(millis));
        assert_eq!(
            (low.created_at(), high.created_at()),
            (at(millis), at(millis))
        );
        assert_eq!(high.as_str().len(), 24);
        assert_eq!(high.as_str().parse(), Ok(high));
        ids.extend([low.to_string(), high.to_string()]);
    }
    assert!(ids.is_sorted(), "{ids:?}");
    for bad in [
        "",
        "dep_",
        "dep_0000000000000000000",
        "dep_0000000000000000000w",
        "dep_000000000000000000000",
        "xep_00000000000000000000",
    ] {
        assert_eq!(bad.parse::<DeploymentId>(), Err(DeploymentIdError), "{bad}");
    }
    let now = Timestamp::now();
    assert_ne!(DeploymentId::generate(now), DeploymentId::generate(now));
}

fn minimal() -> serde_json::Value {
    json!({
        "id": DeploymentId::from_random(at(5), [1; 8]), "cluster": "cls-1", "project_id": "shop", "namespace": "default",
        "requested_by": {"subject": "alice", "token_id": "aaaaaaaaaaaaaaaa", "role": "editor", "new": 1},
        "state": "pending", "created_at": at(5), "updated_at": at(5),
    })
}

#[test]
fn a_record_of_a_newer_version_reads() {
    let mut json = minimal();
    json["state"] = json!("paused_by_the_moon");
    json["invented_later"] = json!({"deep": [1, 2]});
    let record: DeploymentRecord = serde_json::from_value(json).unwrap();
    assert_eq!(record.state, DeploymentState::Unknown);
    assert!(record.history.is_empty() && record.objects.is_empty() && !record.dry_run);
    let again: DeploymentRecord =
        serde_json::from_slice(&serde_json::to_vec(&record).unwrap()).unwrap();
    assert_eq!(again, record);
}

#[test]
fn history_keeps_the_first_and_the_newest() {
    let mut record: DeploymentRecord = serde_json::from_value(minimal()).unwrap();
    record.advance(DeploymentState::Pending, "first", at(6));
    for step in 2..=200 {
        record.advance(DeploymentState::RollingOut, "", at(step));
        assert_eq!(record.finished_at, None);
    }
    record.advance(DeploymentState::Succeeded, "done", at(201));
    assert_eq!(record.finished_at, Some(at(201)));
    let sequences: Vec<_> = record.history.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences.len(), MAX_HISTORY);
    assert_eq!((sequences[0], sequences[1]), (1, 201 - 62));
    assert_eq!(sequences.last(), Some(&201));
    assert!(sequences.is_sorted());
}

#[test]
fn states_are_called_as_in_json() {
    for state in [
        DeploymentState::Pending,
        DeploymentState::RollingOut,
        DeploymentState::TimedOut,
        DeploymentState::Pruned,
        DeploymentState::Unknown,
    ] {
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
}
