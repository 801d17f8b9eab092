//! How long a token lives, as typed: `30s`, `15m`, `12h`, `90d`, `never`.

use std::str::FromStr;

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use thiserror::Error;

use super::CliError;

/// When a token ends, counted from its making.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// It does not.
    Never,
    /// After this time; more than zero.
    After(SignedDuration),
}

/// A text that is no such time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be a time such as 30s, 15m, 12h or 90d, or never")]
pub struct ExpiryError;

impl Expiry {
    /// The moment, for a token made at `now`; `None` for never. Whole seconds, rounded up.
    ///
    /// # Errors
    /// [`CliError::TooLate`] beyond the year 9999.
    pub fn from_now(self, now: Timestamp) -> Result<Option<Timestamp>, CliError> {
        let Self::After(time) = self else {
            return Ok(None);
        };
        let at = now.checked_add(time).map_err(|_| CliError::TooLate)?;
        let partial = i64::from(at.subsec_nanosecond() > 0);
        Timestamp::from_second(at.as_second() + partial)
            .map(Some)
            .map_err(|_| CliError::TooLate)
    }
}

impl FromStr for Expiry {
    type Err = ExpiryError;

    fn from_str(text: &str) -> Result<Self, ExpiryError> {
        if text == "never" {
            return Ok(Self::Never);
        }
        let span: Span = text.parse().map_err(|_| ExpiryError)?;
        let day = SpanRelativeTo::days_are_24_hours();
        let time = span.to_duration(day).map_err(|_| ExpiryError)?;
        if time.is_positive() {
            Ok(Self::After(time))
        } else {
            Err(ExpiryError)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_type() {
        let hours = |text: &str| match text.parse() {
            Ok(Expiry::After(time)) => time.as_hours(),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(hours("12h"), 12);
        assert_eq!(hours("90d"), 90 * 24);
        assert_eq!(hours("1d 12h"), 36);
        assert_eq!(
            "15m".parse(),
            Ok(Expiry::After(SignedDuration::from_mins(15)))
        );
        assert_eq!(
            "30s".parse(),
            Ok(Expiry::After(SignedDuration::from_secs(30)))
        );
        assert_eq!("never".parse(), Ok(Expiry::Never));
        for bad in [
            "",
            "12",
            "0s",
            "-1h",
            "1 month",
            "1y",
            "soon",
            "999999999999h",
        ] {
            assert_eq!(bad.parse::<Expiry>(), Err(ExpiryError), "{bad}");
        }
    }

    #[test]
    fn ends_on_a_whole_second() {
        let now = Timestamp::new(100, 5).unwrap();
        let at = "30s".parse::<Expiry>().unwrap().from_now(now).unwrap();
        assert_eq!(at, Some(Timestamp::from_second(131).unwrap()));
        assert!(matches!(
            "3650000d".parse::<Expiry>().unwrap().from_now(now),
            Err(CliError::TooLate)
        ));
    }
}
