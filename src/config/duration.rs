//! Lengths of time as people write them: `500ms`, `30s`, `15m`, `12h`, `90d`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Path, Violation};

/// Nothing here waits for longer than a day.
const MOST: Period = Period::from_secs(24 * 3600);

/// A length of time in a configuration or on a command line; a day is 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// A text that is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a duration such as 30s, 15m, 12h or 90d")]
pub struct PeriodError(String);

impl Period {
    /// So many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// What is wrong with it as a time to wait for somebody.
    #[must_use]
    pub fn check_wait(self, path: Path) -> Option<Violation> {
        if self.0.is_zero() {
            return Some(Violation::new(path, "must be longer than 0s"));
        }
        self.check_most(path)
    }

    /// What is wrong with it as a time that may be none.
    #[must_use]
    pub fn check_most(self, path: Path) -> Option<Violation> {
        (self > MOST).then(|| Violation::new(path, format!("must be at most {MOST}")))
    }
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let bad = || PeriodError(text.to_owned());
        let trimmed = text.trim();
        if let Some(days) = trimmed.strip_suffix('d') {
            let days: u64 = days.parse().map_err(|_| bad())?;
            return days
                .checked_mul(24 * 3600)
                .map(Self::from_secs)
                .ok_or_else(bad);
        }
        let parsed: SignedDuration = trimmed.parse().map_err(|_| bad())?;
        Duration::try_from(parsed).map(Self).map_err(|_| bad())
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        for (unit, length) in [("ms", 1_000_000), ("us", 1_000), ("ns", 1)] {
            let nanos = self.0.subsec_nanos();
            if nanos == 0 {
                break;
            }
            if nanos.is_multiple_of(length) {
                return write!(f, "{}{unit}", self.0.as_nanos() / u128::from(length));
            }
        }
        for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60)] {
            if seconds != 0 && seconds.is_multiple_of(length) {
                return write!(f, "{}{unit}", seconds / length);
            }
        }
        write!(f, "{seconds}s")
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "period", "examples": ["30s"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_written() {
        for (text, seconds) in [
            ("30s", 30),
            ("15m", 900),
            ("12h", 43_200),
            ("90d", 7_776_000),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!(period, Period::from_secs(seconds));
            assert_eq!(period.to_string(), text);
        }
        for text in ["500ms", "1500ms", "250us", "7ns", "0s"] {
            assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
        }
        assert_eq!(
            "500ms".parse::<Period>().unwrap().0,
            Duration::from_millis(500)
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "30", "-5s", "soon", "99999999999999999999d"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }
}
