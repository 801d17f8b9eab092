//! Whether a kubelet may have passed over lines.
//!
//! It reads a log from one file. Where it is kept waiting while the container writes on, that file may be rotated away more
//! than once: it then goes on in the newest file, without a word about those between. What can be seen from here is a reader
//! that kept the kubelet waiting for long, and then a leap in the lines' times.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Kubelets look every few seconds whether a log is to be rotated, so what they pass over is at least as long as this.
const LEAP: SignedDuration = SignedDuration::from_secs(2);

/// How long a kubelet was kept waiting in all, since it last had nothing left.
const STALL: Duration = Duration::from_secs(3);

/// Bytes below which the buffers on the way hold everything: no kubelet waits before.
const IN_FLIGHT: u64 = 256 * 1024;

/// The first leap that may be a loss.
#[derive(Debug)]
struct Doubt {
    after: Timestamp,
    /// None where it is the end.
    before: Option<Timestamp>,
    more: u64,
}

/// What was seen so far.
#[derive(Debug)]
pub(super) struct Gaps {
    /// Lines from before then are history: it is in one file.
    begun: Timestamp,
    stalled: Duration,
    bytes: u64,
    /// The last line, and whether it came late.
    last: Option<(Timestamp, bool)>,
    doubt: Option<Doubt>,
}

impl Gaps {
    pub(super) fn new(begun: Timestamp) -> Self {
        Self {
            begun,
            stalled: Duration::ZERO,
            bytes: 0,
            last: None,
            doubt: None,
        }
    }

    /// Nothing was read for so long, because there was no room.
    pub(super) fn stalled(&mut self, time: Duration) {
        self.stalled += time;
    }

    /// All that there was has been read.
    pub(super) fn caught_up(&mut self) {
        self.stalled = Duration::ZERO;
        self.bytes = 0;
    }

    pub(super) fn received(&mut self, bytes: usize) {
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Whether the kubelet was kept waiting so long that it may have missed a rotation. It may not notice by itself.
    pub(super) fn is_late(&self) -> bool {
        self.stalled >= STALL && self.bytes >= IN_FLIGHT
    }

    /// A line begins.
    pub(super) fn line(&mut self, time: Timestamp) {
        if let Some((last, was_late)) = self.last
            && time > self.begun
            && time.duration_since(last).abs() >= LEAP
        {
            if was_late {
                self.leap(last, time);
            }
            // What comes now is of another file, if it is: that one would have to keep the kubelet waiting again.
            self.bytes = 0;
        }
        self.last = Some((time, self.is_late()));
    }

    fn leap(&mut self, after: Timestamp, before: Timestamp) {
        match &mut self.doubt {
            Some(doubt) => doubt.more += 1,
            None => {
                self.doubt = Some(Doubt {
                    after,
                    before: Some(before),
                    more: 0,
                });
            }
        }
    }

    /// A line begins, and the last one is not in the same file any more.
    pub(super) fn rotated(&mut self, time: Timestamp) {
        self.last = self.last.map(|(last, _)| (last, true));
        self.line(time);
    }

    /// No more lines come, and nobody can say whether there are more.
    pub(super) fn ended_unseen(&mut self) {
        if let (Some((last, true)), None) = (self.last, &self.doubt) {
            self.doubt = Some(Doubt {
                after: last,
                before: None,
                more: 0,
            });
        }
    }

    /// What to tell of a log that may not be whole.
    pub(super) fn doubt(&self) -> Option<String> {
        let doubt = self.doubt.as_ref()?;
        let more = match doubt.more {
            0 => String::new(),
            more => format!(" (and {more} times more after that)"),
        };
        let place = match doubt.before {
            Some(before) => format!("between {} and {before}", doubt.after),
            None => format!("after {}", doubt.after),
        };
        Some(format!(
            "lines may be missing, or come twice, {place}{more}: the log was read more slowly than it was \
             written, and the node may have rotated it meanwhile"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A log that is begun at 100 and has lines at these times; slow where it was kept waiting.
    fn doubt(slow: bool, times: &[i64]) -> Option<String> {
        let mut gaps = Gaps::new(at(100));
        if slow {
            gaps.stalled(STALL);
        }
        gaps.received(usize::try_from(IN_FLIGHT).unwrap());
        times.iter().for_each(|time| gaps.line(at(*time)));
        gaps.doubt()
    }

    #[test]
    fn only_a_leap_that_a_slow_reader_may_have_caused_is_told() {
        assert!(doubt(true, &[101, 102, 103]).is_none());
        assert!(doubt(false, &[101, 102, 110]).is_none());
        assert!(doubt(true, &[10, 50, 99]).is_none());
        let told = doubt(true, &[101, 102, 110, 150]).unwrap();
        assert!(told.contains("between 1970-01-01T00:01:42Z and 1970-01-01T00:01:50Z: "));
        assert!(doubt(true, &[110, 102]).is_some());
    }

    #[test]
    fn an_end_that_nobody_saw_is_told_to_the_late_only() {
        for (stall, told) in [(STALL, true), (Duration::ZERO, false)] {
            let mut gaps = Gaps::new(at(100));
            gaps.received(1 << 20);
            gaps.stalled(stall);
            gaps.line(at(101));
            gaps.ended_unseen();
            assert_eq!(gaps.doubt().is_some(), told);
        }
    }

    #[test]
    fn another_file_is_the_next_one_only_if_it_begins_at_once() {
        for (time, told) in [(102, false), (104, true)] {
            let mut gaps = Gaps::new(at(100));
            gaps.line(at(101));
            gaps.rotated(at(time));
            assert_eq!(gaps.doubt().is_some(), told);
        }
    }

    #[test]
    fn who_has_caught_up_misses_nothing() {
        let mut gaps = Gaps::new(at(100));
        gaps.received(1 << 20);
        gaps.stalled(STALL);
        gaps.caught_up();
        gaps.line(at(101));
        gaps.line(at(200));
        assert!(gaps.doubt().is_none());
    }
}
