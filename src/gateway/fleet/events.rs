//! The last events of a cluster, in a ring of bounded size.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::wire::control::{Event, EventSummary};

/// Events that are kept for each cluster: what a page shows, and what a reader that was away for a moment misses.
const MOST: usize = 256;

/// Bytes of them, about: what an agent may make a gateway keep, whatever it puts into an event.
const MOST_BYTES: usize = 64 * 1024;

/// Something that a cluster reported.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::gateway) enum Happened {
    /// One event.
    Event(Event),
    /// How many were not told one by one.
    LeftOut(EventSummary),
}

/// An event, and its place in the order of all of a cluster's since the gateway started.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::gateway) struct Numbered {
    /// Each one more than the one before.
    pub(in crate::gateway) number: u64,
    /// When it came, by our clock.
    pub(in crate::gateway) at: Timestamp,
    pub(in crate::gateway) what: Happened,
}

/// What there is after a number.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Since {
    /// Oldest first.
    pub(in crate::gateway) events: Vec<Numbered>,
    /// So many that were asked for are no longer there.
    pub(in crate::gateway) missed: u64,
}

#[derive(Debug)]
pub(super) struct Events {
    ring: VecDeque<(usize, Numbered)>,
    bytes: usize,
    /// The number before the first.
    begin: u64,
    last: u64,
}

impl Default for Events {
    /// Numbers begin with the time, so that those of an earlier life of the gateway are told from this one's; in
    /// steps that leave room for a million events a second, and below what a double holds exactly.
    fn default() -> Self {
        let second = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
        let begin = second << 20;
        Self {
            ring: VecDeque::new(),
            bytes: 0,
            begin,
            last: begin,
        }
    }
}

impl Events {
    pub(super) fn push(&mut self, at: Timestamp, what: Happened) {
        self.last += 1;
        let size = size_of::<Numbered>() + size(&what);
        self.bytes += size;
        let number = self.last;
        self.ring.push_back((size, Numbered { number, at, what }));
        while self.ring.len() > MOST || self.bytes > MOST_BYTES {
            let Some((size, _)) = self.ring.pop_front() else {
                return;
            };
            self.bytes -= size;
        }
    }

    /// The number of the newest one.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// A number that was never given out is one of an earlier life of the gateway: all there is comes after it.
    pub(super) fn since(&self, after: u64) -> Since {
        let ours = (self.begin..=self.last).contains(&after);
        let after = if ours { after } else { self.begin };
        let first = self.ring.front().map_or(self.last + 1, |(_, e)| e.number);
        let skip = usize::try_from((after + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        let events = self.ring.iter().skip(skip).map(|(_, event)| event.clone());
        Since {
            events: events.collect(),
            missed: first.saturating_sub(after + 1),
        }
    }
}

/// What it holds of the heap, about.
fn size(what: &Happened) -> usize {
    match what {
        Happened::Event(event) => {
            let details = event.details.iter().map(|(key, value)| {
                // A map's entry and a value of JSON, beside their text.
                key.len()
                    + 100
                    + value
                        .as_str()
                        .map_or_else(|| value.to_string().len(), str::len)
            });
            event.event_type.len()
                + event.namespace.len()
                + event.resource.len()
                + details.sum::<usize>()
        }
        Happened::LeftOut(summary) => summary.by_type.keys().map(|key| key.len() + 64).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(text: usize) -> Happened {
        Happened::Event(Event {
            resource: "x".repeat(text),
            ..Event::default()
        })
    }

    proptest! {
        #[test]
        fn a_reader_that_goes_on_where_it_was_misses_nothing_untold(
            sizes in prop::collection::vec(0..9_000_usize, 0..600), step in 1..50_usize
        ) {
            let mut events = Events::default();
            let (mut at, mut read, mut missed) = (events.last(), 0, 0);
            for (n, size) in sizes.iter().enumerate() {
                events.push(Timestamp::UNIX_EPOCH, event(*size));
                prop_assert!(events.ring.len() <= MOST && events.bytes <= MOST_BYTES);
                if n % step == 0 {
                    let since = events.since(at);
                    read += since.events.len() as u64;
                    missed += since.missed;
                    at = since.events.last().map_or(at + since.missed, |event| event.number);
                }
            }
            let rest = events.since(at);
            prop_assert_eq!(read + missed + rest.missed + rest.events.len() as u64, sizes.len() as u64);
        }
    }

    #[test]
    fn a_number_from_before_a_restart_gets_all_there_is() {
        let mut events = Events::default();
        events.push(Timestamp::UNIX_EPOCH, event(1));
        assert_eq!(events.since(99).events.len(), 1);
        assert_eq!(events.since(u64::MAX).events.len(), 1);
        assert_eq!(events.since(events.last()).events.len(), 0);
    }
}
