//! Kubernetes' own events, of the type `Warning`.
//!
//! The API server keeps them for an hour; how many there are is nobody's to bound. So only how often the latest happened
//! is kept, and of one that was forgotten its time tells whether it is news.

use std::num::NonZeroUsize;

use jiff::Timestamp;
use lru::LruCache;

use super::cache::Cache;
use super::happening::{EventType, Found, Happening};
use super::intern::uid;
use super::meters::Watched;
use super::slim::SlimEvent;

/// Events of which it is known how often they have happened: about 2 MiB.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// What was seen of the warnings.
#[derive(Debug)]
pub(super) struct Warnings {
    /// How often each has happened.
    counts: LruCache<u128, u32>,
    listed: bool,
    /// When the latest happened: what is not older, and not known, is news in a list that is read again.
    latest: Timestamp,
    /// The latest before the list began that is being read, if one is.
    before: Option<Timestamp>,
}

impl Default for Warnings {
    fn default() -> Self {
        Self {
            counts: LruCache::new(REMEMBERED),
            listed: false,
            latest: Timestamp::MIN,
            before: None,
        }
    }
}

impl Cache for Warnings {
    type Object = SlimEvent;
    const WATCHED: Watched = Watched::Events;
    const SELECTOR: Option<&'static str> = Some("type=Warning");

    fn begin(&mut self) {
        self.before = Some(self.latest);
    }

    fn see(&mut self, object: &SlimEvent, found: &mut Vec<Found>) {
        let (at, count) = (time(object), count(object));
        self.latest = self.latest.max(at);
        let known = self.counts.put(uid(&object.metadata), count);
        let new = match known {
            Some(known) => count.saturating_sub(known),
            None if self.before.is_some_and(|before| at < before) => 0,
            None => count,
        };
        if self.listed && new > 0 {
            found.push(Found::New(warning(object, at, new)));
        }
    }

    fn gone(&mut self, object: &SlimEvent, _: &mut Vec<Found>) {
        self.counts.pop(&uid(&object.metadata));
    }

    fn sweep(&mut self, _: &mut Vec<Found>) -> bool {
        self.listed = true;
        self.before = None;
        false
    }

    fn is_listed(&self) -> bool {
        self.listed
    }

    fn count(&self) -> usize {
        self.counts.len()
    }
}

fn warning(object: &SlimEvent, at: Timestamp, count: u32) -> Happening {
    let about = &object.involved_object;
    let mut happening = Happening::new(EventType::Warning, &about.namespace, &about.name, at)
        .because(&object.reason)
        .with("kind", &about.kind)
        .with("message", &object.message)
        .times(u64::from(count));
    // A Deployment and a Pod may have the same name.
    happening.key.reason = format!("{}/{}", about.kind, happening.key.reason);
    happening
}

fn count(object: &SlimEvent) -> u32 {
    let series = object.series.as_ref().map(|series| series.count);
    series.or(object.count).unwrap_or(1).max(1)
}

fn time(object: &SlimEvent) -> Timestamp {
    let created = object.metadata.creation_timestamp.as_ref();
    let series = object.series.as_ref();
    series
        .and_then(|series| series.last_observed_time)
        .or(object.last_timestamp)
        .or(object.event_time)
        .or(created.map(|time| time.0))
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(uid: &str, count: u32, second: u32) -> SlimEvent {
        serde_json::from_value(json!({
            "metadata": {"name": uid, "namespace": "shop", "uid": uid, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "web-0"},
            "reason": "BackOff", "message": "Back-off restarting failed container", "type": "Warning",
            "eventTime": null, "series": null,
            "count": count, "lastTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
        }))
        .unwrap()
    }

    fn counts(found: &mut Vec<Found>) -> Vec<u64> {
        let all = found.drain(..).map(|found| match found {
            Found::New(happening) => happening.count,
            Found::Placed { .. } => panic!("no pod"),
        });
        all.collect()
    }

    #[test]
    fn the_backlog_is_no_news_and_repetitions_are_counted() {
        let (mut warnings, mut found) = (Warnings::default(), Vec::new());
        warnings.begin();
        warnings.see(&event("a", 5, 10), &mut found);
        while warnings.sweep(&mut found) {}
        assert!(counts(&mut found).is_empty());
        warnings.see(&event("a", 7, 11), &mut found);
        warnings.see(&event("a", 7, 11), &mut found);
        warnings.see(&event("b", 1, 12), &mut found);
        assert_eq!(counts(&mut found), [2, 1]);
    }

    #[test]
    fn a_list_that_is_read_again_tells_only_what_is_new() {
        let (mut warnings, mut found) = (Warnings::default(), Vec::new());
        warnings.begin();
        warnings.see(&event("a", 5, 10), &mut found);
        while warnings.sweep(&mut found) {}
        warnings.counts.clear();
        warnings.begin();
        warnings.see(&event("forgotten", 3, 9), &mut found);
        warnings.see(&event("new", 2, 20), &mut found);
        warnings.see(&event("also new", 1, 15), &mut found);
        while warnings.sweep(&mut found) {}
        assert_eq!(counts(&mut found), [2, 1]);
    }

    #[test]
    fn what_it_is_about_is_told() {
        let (mut warnings, mut found) = (Warnings::default(), Vec::new());
        while warnings.sweep(&mut found) {}
        warnings.see(&event("a", 3, 1), &mut found);
        let Some(Found::New(happening)) = found.pop() else {
            panic!("a warning")
        };
        let told = serde_json::to_value(happening.into_event()).unwrap();
        assert_eq!(
            told,
            json!({"event_type": "warning", "namespace": "shop", "resource": "web-0", "count": 3,
                "occurred_at": "2026-01-01T00:00:01Z", "details": {"reason": "BackOff", "kind": "Pod",
                "message": "Back-off restarting failed container"}})
        );
    }
}
