#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "anything else fails the test"
)]

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::wire::control::{ExecResult, Outcome};

fn result(id: &str) -> Message {
    Message::ExecResult(ExecResult {
        command_id: id.to_owned(),
        outcome: Outcome::Succeeded,
        ..ExecResult::default()
    })
}

fn code(begin: Begin) -> String {
    match begin {
        Begin::Refused(error) => error.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_command_is_begun_once_and_its_result_told_until_it_is_known() {
    let now = Instant::now();
    let mut journal = Journal::default();
    assert_eq!(journal.begin("a", now), Begin::New);
    assert_eq!(journal.begin("a", now), Begin::Running);
    assert!(!journal.acknowledge("a", now));
    journal.finish("a", result("a"));
    journal.finish("a", result("other"));
    assert_eq!(journal.begin("a", now), Begin::Done(Some(result("a"))));
    assert_eq!(journal.unacknowledged().count(), 1);
    assert!(journal.acknowledge("a", now));
    assert!(!journal.acknowledge("a", now));
    assert_eq!(journal.unacknowledged().count(), 0);
    assert_eq!(journal.begin("a", now), Begin::Done(None));
    let later = now + REMEMBERED;
    assert_eq!(journal.begin("a", later), Begin::New);
}

#[test]
fn results_are_told_in_their_order() {
    let now = Instant::now();
    let mut journal = Journal::default();
    for id in ["a", "b", "c"] {
        journal.begin(id, now);
    }
    for id in ["c", "a", "b"] {
        journal.finish(id, result(id));
    }
    journal.acknowledge("a", now);
    let left: Vec<_> = journal.unacknowledged().cloned().collect();
    assert_eq!(left, [result("c"), result("b")]);
}

#[test]
fn what_is_open_is_never_forgotten_and_bounded() {
    let now = Instant::now();
    let mut journal = Journal::default();
    for n in 0..MAX_OPEN {
        assert_eq!(journal.begin(&n.to_string(), now), Begin::New);
    }
    assert_eq!(code(journal.begin("more", now)), "TOO_MANY_REQUESTS");
    let later = now + REMEMBERED * 2;
    assert_eq!(journal.begin("0", later), Begin::Running);
    journal.finish("0", result("0"));
    assert_eq!(code(journal.begin("more", later)), "TOO_MANY_REQUESTS");
    journal.acknowledge("0", later);
    assert_eq!(journal.begin("more", later), Begin::New);
}

#[test]
fn large_results_bound_what_is_taken_too() {
    let now = Instant::now();
    let mut journal = Journal::default();
    journal.begin("a", now);
    journal.finish("a", result(&"x".repeat(MAX_HELD)));
    assert_eq!(code(journal.begin("b", now)), "TOO_MANY_REQUESTS");
    journal.acknowledge("a", now);
    assert_eq!(journal.begin("b", now), Begin::New);
}

#[test]
fn the_oldest_make_room() {
    let now = Instant::now();
    let mut journal = Journal::default();
    for n in 0..=MAX_REMEMBERED {
        let id = n.to_string();
        assert_eq!(journal.begin(&id, now), Begin::New);
        journal.finish(&id, result(&id));
        journal.acknowledge(&id, now);
    }
    assert_eq!(journal.entries.len(), MAX_REMEMBERED);
    assert_eq!(journal.begin("1", now), Begin::Done(None));
    assert_eq!(journal.begin("0", now), Begin::New);
}

#[test]
fn ids_are_short() {
    let mut journal = Journal::default();
    let now = Instant::now();
    for id in [String::new(), "x".repeat(MAX_ECHOED_ID + 1)] {
        assert_eq!(code(journal.begin(&id, now)), "INVALID_REQUEST");
    }
    assert!(journal.entries.is_empty());
}

#[derive(Debug, Clone)]
enum Step {
    Begin(u16),
    Finish(u16),
    Acknowledge(u16),
    Wait(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0_u16..1500;
    prop_oneof![
        4 => id.clone().prop_map(Step::Begin),
        2 => id.clone().prop_map(Step::Finish),
        1 => id.prop_map(Step::Acknowledge),
        1 => (0_u32..40_000).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_a_command_is_new_once(steps in proptest::collection::vec(step(), 0..6000)) {
        let mut journal = Journal::default();
        let mut now = Instant::now();
        let mut open = HashSet::new();
        let mut known: HashMap<u16, Instant> = HashMap::new();
        for step in steps {
            match step {
                Step::Begin(n) => match journal.begin(&n.to_string(), now) {
                    Begin::New => {
                        prop_assert!(!open.contains(&n));
                        prop_assert!(known.get(&n).is_none_or(|then| now - *then >= REMEMBERED));
                        open.insert(n);
                    }
                    Begin::Running => prop_assert!(open.contains(&n)),
                    Begin::Done(Some(message)) => prop_assert_eq!(message, result(&n.to_string())),
                    Begin::Done(None) => prop_assert!(known.contains_key(&n) && !open.contains(&n)),
                    Begin::Refused(error) => {
                        prop_assert_eq!(error.code, "TOO_MANY_REQUESTS");
                        prop_assert!(open.len() >= MAX_OPEN);
                    }
                },
                Step::Finish(n) => journal.finish(&n.to_string(), result(&n.to_string())),
                Step::Acknowledge(n) => {
                    if journal.acknowledge(&n.to_string(), now) {
                        prop_assert!(open.remove(&n));
                        known.insert(n, now);
                    }
                }
                Step::Wait(seconds) => now += Duration::from_secs(seconds.into()),
            }
            prop_assert_eq!(journal.running() + journal.unacknowledged().count(), open.len());
            prop_assert!(open.len() <= MAX_OPEN && journal.entries.len() <= MAX_REMEMBERED);
            prop_assert_eq!(journal.entries.len(), journal.past.len() + open.len());
        }
        let bytes: usize = journal.held.values().map(|held| held.bytes).sum();
        prop_assert_eq!(journal.held_bytes, bytes);
    }
}
