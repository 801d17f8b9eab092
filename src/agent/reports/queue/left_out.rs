//! What was not told one by one.

use serde_json::{Map, Value};

use crate::agent::reports::happening::Happening;
use crate::metrics::Label;
use crate::wire::control::{Event, EventSummary};

/// The type of event that tells it to a gateway that knows no summaries.
const EVENT_TYPE: &str = "events_left_out";

/// How many of each type, since when.
#[derive(Debug, Default)]
pub(in crate::agent::reports) struct LeftOut(EventSummary);

impl LeftOut {
    pub(super) fn count(&mut self, happening: &Happening) {
        let summary = &mut self.0;
        let since = summary
            .since
            .map_or(happening.at, |at| at.min(happening.at));
        summary.since = Some(since);
        summary.left_out = summary.left_out.saturating_add(happening.count);
        let kind = happening.key.kind.text().to_owned();
        let of_type = summary.by_type.entry(kind).or_default();
        *of_type = of_type.saturating_add(happening.count);
    }

    /// Whether there is nothing to tell.
    pub(in crate::agent::reports) fn is_empty(&self) -> bool {
        self.0.left_out == 0
    }

    /// Takes what there is to tell.
    pub(in crate::agent::reports) fn take(&mut self) -> EventSummary {
        std::mem::take(&mut self.0)
    }
}

/// A summary as one event, for a gateway of protocol version 1.
pub(in crate::agent::reports) fn as_event(summary: EventSummary) -> Event {
    let by_type = summary.by_type.into_iter();
    let by_type: Map<String, Value> = by_type.map(|(kind, n)| (kind, n.into())).collect();
    let mut details = Map::new();
    details.insert("left_out".to_owned(), summary.left_out.into());
    details.insert("by_type".to_owned(), by_type.into());
    if let Some(since) = summary.since {
        details.insert("since".to_owned(), since.to_string().into());
    }
    Event {
        event_type: EVENT_TYPE.to_owned(),
        details,
        count: Some(summary.left_out),
        ..Event::default()
    }
}
