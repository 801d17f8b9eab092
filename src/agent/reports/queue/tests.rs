//! What is told, in which order, and that nothing is lost but by number.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn happening(kind: EventType, resource: &str) -> Found {
    Found::New(Happening::new(
        kind,
        "shop",
        resource,
        Timestamp::UNIX_EPOCH,
    ))
}

fn warning(resource: &str, reason: &str) -> Found {
    let warning = Happening::new(EventType::Warning, "shop", resource, Timestamp::UNIX_EPOCH);
    Found::New(warning.because(reason))
}

fn take(queue: &mut Queue, now: Instant) -> Vec<(String, String, u64)> {
    let taken = queue.take(200, now).into_iter();
    taken
        .map(|event| (event.event_type, event.resource, event.count.unwrap_or(1)))
        .collect()
}

fn told(kind: &str, resource: &str, count: u64) -> (String, String, u64) {
    (kind.to_owned(), resource.to_owned(), count)
}

#[tokio::test(start_paused = true)]
async fn what_repeats_is_told_at_once_and_then_once_in_a_window() {
    let (mut queue, begin) = (Queue::new(), Instant::now());
    queue.push(warning("a", "BackOff"), begin);
    queue.push(warning("a", "Failed"), begin);
    queue.push(warning("a", "BackOff"), begin);
    assert_eq!(
        take(&mut queue, begin),
        [told("warning", "a", 2), told("warning", "a", 1)]
    );
    for second in 1..30 {
        let now = begin + Duration::from_secs(second);
        queue.push(warning("a", "BackOff"), now);
        assert!(!queue.is_due(now));
        assert_eq!(take(&mut queue, now), []);
    }
    assert_eq!(take(&mut queue, begin + WINDOW), [told("warning", "a", 29)]);
}

#[tokio::test(start_paused = true)]
async fn what_says_how_an_object_is_stays_in_order() {
    let (mut queue, now) = (Queue::new(), Instant::now());
    use EventType::{NodeNotReady, NodeReady};
    for kind in [NodeReady, NodeNotReady, NodeNotReady, NodeReady] {
        queue.push(happening(kind, "n"), now);
    }
    queue.push(happening(NodeReady, "m"), now);
    let expected = [
        told("node_ready", "n", 1),
        told("node_not_ready", "n", 2),
        told("node_ready", "n", 1),
        told("node_ready", "m", 1),
    ];
    assert_eq!(take(&mut queue, now), expected);
    queue.push(happening(NodeReady, "n"), now);
    assert_eq!(take(&mut queue, now), [told("node_ready", "n", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_waits_is_told_with_the_node() {
    let (mut queue, now) = (Queue::new(), Instant::now());
    queue.push(happening(EventType::PodCreated, "web"), now);
    queue.push(happening(EventType::PodCreated, "nowhere"), now);
    assert!(!queue.is_due(now));
    for pod in ["web", "unknown"] {
        let placed = Found::Placed {
            namespace: "shop".into(),
            pod: pod.into(),
            node: "node-1".into(),
        };
        queue.push(placed, now);
    }
    let events = queue.take(200, now);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].details["node"], "node-1");
    queue.push(happening(EventType::PodCreated, "gone"), now);
    queue.push(happening(EventType::PodDeleted, "gone"), now);
    let expected = [
        told("pod_created", "gone", 1),
        told("pod_deleted", "gone", 1),
    ];
    assert_eq!(take(&mut queue, now), expected);
    assert_eq!(
        take(&mut queue, now + PLACING),
        [told("pod_created", "nowhere", 1)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_one_type_drives_out_no_other() {
    let (mut queue, now) = (Queue::new(), Instant::now());
    queue.push(happening(EventType::NodeNotReady, "n"), now);
    for n in 0..MAX_WAITING + 500 {
        queue.push(happening(EventType::PodReady, &n.to_string()), now);
    }
    assert_eq!(queue.len(), MAX_WAITING);
    let summary = queue.left_out().take();
    assert_eq!((summary.left_out, summary.by_type["pod_ready"]), (501, 501));
    assert!(queue.left_out().is_empty());
    let events = take(&mut queue, now);
    assert_eq!(events[0], told("node_not_ready", "n", 1));
    assert_eq!(
        (events.len(), &events[1]),
        (200, &told("pod_ready", "501", 1))
    );
    let one = serde_json::to_value(as_event(summary)).unwrap();
    let details =
        json!({"left_out": 501, "by_type": {"pod_ready": 501}, "since": "1970-01-01T00:00:00Z"});
    assert_eq!(
        one,
        json!({"event_type": "events_left_out", "namespace": "", "resource": "", "count": 501, "details": details})
    );
}

#[tokio::test(start_paused = true)]
async fn one_message_is_never_large() {
    let (mut queue, now) = (Queue::new(), Instant::now());
    for n in 0..300 {
        let large = Happening::new(
            EventType::Warning,
            "shop",
            &n.to_string(),
            Timestamp::UNIX_EPOCH,
        );
        queue.push(
            Found::New(large.with("message", &"\u{1}".repeat(5000))),
            now,
        );
    }
    let mut all = 0;
    while queue.is_due(now) {
        let events = queue.take(200, now);
        all += events.len();
        let length = serde_json::to_string(&events).unwrap().len();
        assert!(
            length < crate::wire::limits::MAX_CONTROL_MESSAGE / 2,
            "{length}"
        );
    }
    assert_eq!(all, 300);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever happens, and whenever it is told: each type is told as often as it happened, or counted as left out.
    #[test]
    fn nothing_is_lost_but_by_number(
        steps in prop::collection::vec((0..10_usize, 0..40_u32, 1..4_u64, 0..3_usize, 0..4_u64), 0..4000),
    ) {
        let (mut queue, mut now) = (Queue::new(), Instant::now());
        let (mut happened, mut told) = (BTreeMap::new(), BTreeMap::new());
        let all = EventType::all();
        let count = |into: &mut BTreeMap<String, u64>, kind: &str, n: u64| *into.entry(kind.to_owned()).or_default() += n;
        for (at, (kind, resource, times, taken, pause)) in steps.into_iter().enumerate() {
            let unique = format!("{resource}-{}", if times == 1 { at } else { 0 });
            let happening = Happening::new(all[kind], "a", &unique, Timestamp::UNIX_EPOCH).times(times);
            count(&mut happened, all[kind].text(), times);
            queue.push(Found::New(happening), now);
            now += Duration::from_secs(pause);
            if at % 50 == 0 {
                queue.take(taken, now).into_iter().for_each(|event| count(&mut told, &event.event_type, event.count.unwrap_or(1)));
            }
            prop_assert!(queue.len() <= MAX_WAITING);
            prop_assert_eq!(queue.by_type.iter().map(BTreeSet::len).sum::<usize>(), queue.len());
            prop_assert!(queue.places.len() <= queue.len() && queue.last.len() <= queue.len());
        }
        now += WINDOW;
        while queue.is_due(now) {
            queue.take(200, now).into_iter().for_each(|event| count(&mut told, &event.event_type, event.count.unwrap_or(1)));
        }
        for (kind, n) in queue.left_out().take().by_type {
            count(&mut told, &kind, n);
        }
        prop_assert_eq!(happened, told);
        prop_assert_eq!((queue.len(), queue.places.len(), queue.last.len()), (0, 0, 0));
    }
}
