//! Whether this machine's clock agrees with the gateway's.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::report::Finding;

/// Above it something is wrong with a clock, though it does no harm yet.
const WARN: SignedDuration = SignedDuration::from_secs(5);

/// Above it things break: certificates that are new are not valid yet, and cloud providers refuse
/// what a cluster's credential plugin signs (AWS allows five minutes).
const FAIL: SignedDuration = SignedDuration::from_secs(300);

/// One look at the gateway's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) theirs: Timestamp,
    /// When it arrived, by our clock.
    pub(super) arrived: Timestamp,
    /// How long the question and its answer took; what was said is half of it old.
    pub(super) round_trip: Duration,
    /// How coarse their clock's time is given.
    pub(super) grain: Duration,
    /// Who said it has shown a certificate that we trust.
    pub(super) trusted: bool,
}

impl Reading {
    /// By how much ours is ahead of theirs, for all that can be known, and the uncertainty of it.
    fn skew(&self) -> (SignedDuration, SignedDuration) {
        let half = signed(self.round_trip / 2);
        let grain = signed(self.grain / 2);
        let ahead = self.arrived.duration_since(self.theirs) - half - grain;
        (ahead, half + grain)
    }

    /// What it means.
    pub(super) fn judge(&self, place: &str) -> Finding {
        let (ahead, doubt) = self.skew();
        let certain = (ahead.abs() - doubt).max(SignedDuration::ZERO);
        let direction = if ahead.is_negative() {
            "behind"
        } else {
            "ahead of"
        };
        let source = if self.trusted {
            "the gateway's"
        } else {
            "that of whoever answers (not trusted)"
        };
        let details = format!(
            "{} {direction} {source}, give or take {}",
            short(ahead.abs()),
            short(doubt)
        );
        let action = "set the clock of this machine or of the gateway's by NTP; `timedatectl` or `chronyc tracking` shows which is wrong";
        if certain >= FAIL {
            Finding::failed("clock", place, details, action)
        } else if certain >= WARN {
            Finding::warning("clock", place, details, action)
        } else {
            Finding::ok("clock", place, details)
        }
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// To the millisecond below a second, to the second above.
fn short(duration: SignedDuration) -> String {
    if duration.as_secs() >= 1 {
        let seconds = SignedDuration::from_secs(duration.as_secs());
        return format!("{seconds:#}");
    }
    format!("{} ms", duration.as_millis())
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    fn judged(ours_ahead_ms: i64, round_trip_ms: u64, grain_ms: u64) -> Finding {
        let arrived = Timestamp::from_millisecond(1_800_000_000_000).unwrap();
        let reading = Reading {
            theirs: arrived - SignedDuration::from_millis(ours_ahead_ms),
            arrived,
            round_trip: Duration::from_millis(round_trip_ms),
            grain: Duration::from_millis(grain_ms),
            trusted: true,
        };
        reading.judge("gw:443")
    }

    #[test]
    fn what_the_way_may_explain_is_no_skew() {
        for (ahead, round_trip, grain, status) in [
            (0, 0, 0, Status::Ok),
            // A way there and back of ten seconds explains an answer that is five seconds old.
            (5_000, 10_000, 0, Status::Ok),
            (10_000, 10_000, 0, Status::Ok),
            (-5_000, 9_000, 0, Status::Warning),
            (7_000, 100, 1_000, Status::Warning),
            (5_900, 0, 1_000, Status::Ok),
            (-6_000, 100, 0, Status::Warning),
            (301_000, 100, 0, Status::Failed),
            (-3_600_000, 100, 0, Status::Failed),
        ] {
            let finding = judged(ahead, round_trip, grain);
            assert_eq!(
                finding.status, status,
                "{ahead} {round_trip} {grain}: {}",
                finding.details
            );
        }
    }

    #[test]
    fn it_says_which_way_and_how_sure() {
        let details = judged(-3_600_000, 20, 0).details;
        assert!(details.contains("behind the gateway's"), "{details}");
        assert!(details.contains("give or take 10 ms"), "{details}");
        assert!(judged(7_000, 20, 0).details.contains("ahead of"));
    }
}
