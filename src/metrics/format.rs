//! Which text format a scraper is answered in.

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The Prometheus text format, version 0.0.4.
    Text,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

/// How much a client wants a format: the quality, how closely the range names it, and which range
/// of the header said so. Compared in that order; an earlier range is the better one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Wish {
    thousandths: u16,
    closeness: u8,
    from_last: usize,
}

impl Format {
    /// The format that an `Accept` header asks for (RFC 9110, section 12.5.1). Text when there is
    /// no header, when both are as welcome, and when neither is.
    #[must_use]
    pub fn from_accept(accept: Option<&str>) -> Self {
        let accept = accept.unwrap_or("*/*");
        let (text, open) = (
            wish(accept, Self::Text.ranges()),
            wish(accept, Self::OpenMetrics.ranges()),
        );
        if open > text {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    /// The value of `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Media ranges that this format is in, the closest first, and the version of the first.
    const fn ranges(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Text => (&["text/plain", "text/*", "*/*"], "0.0.4"),
            Self::OpenMetrics => (
                &["application/openmetrics-text", "application/*", "*/*"],
                "1.0.0",
            ),
        }
    }
}

/// What the closest range that fits says; nothing wished for when none fits, or with `q=0`.
fn wish(accept: &str, (ranges, version): (&[&str], &str)) -> Wish {
    let count = accept.split(',').count();
    let fitting = accept.split(',').enumerate().filter_map(|(at, range)| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next()?;
        let rank = ranges.iter().position(|r| r.eq_ignore_ascii_case(name))?;
        let mut thousandths = 1000;
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key.trim().to_ascii_lowercase().as_str() {
                "q" => thousandths = quality(value.trim()),
                "version" if value.trim().trim_matches('"') != version => return None,
                _ => {}
            }
        }
        Some(Wish {
            thousandths,
            closeness: u8::try_from(ranges.len() - rank).unwrap_or_default(),
            from_last: count - at,
        })
    });
    fitting
        .max_by_key(|wish| (wish.closeness, wish.from_last))
        .filter(|wish| wish.thousandths > 0)
        .unwrap_or_default()
}

/// A quality in thousandths; what is none counts as unwanted.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "from 0 to 1000"
)]
fn quality(text: &str) -> u16 {
    let quality = text.parse::<f32>().ok();
    quality
        .filter(|quality| (0.0..=1.0).contains(quality))
        .map_or(0, |quality| (quality * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Prometheus sends by default, from version 2.5 to 2.48.
    const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0,\
        application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

    #[test]
    fn the_header_decides_and_text_is_the_default() {
        for (accept, expected) in [
            (None, Format::Text),
            (Some(""), Format::Text),
            (Some("*/*"), Format::Text),
            (Some("text/html, */*;q=0.8"), Format::Text),
            (Some("application/json"), Format::Text),
            (Some("text/plain"), Format::Text),
            (Some(PROMETHEUS), Format::OpenMetrics),
            (Some("application/openmetrics-text"), Format::OpenMetrics),
            (
                Some("APPLICATION/OpenMetrics-Text; Version=1.0.0"),
                Format::OpenMetrics,
            ),
            (
                Some("application/openmetrics-text;version=\"1.0.0\""),
                Format::OpenMetrics,
            ),
            (
                Some("application/openmetrics-text, */*"),
                Format::OpenMetrics,
            ),
            (
                Some("application/openmetrics-text, text/plain"),
                Format::OpenMetrics,
            ),
            (
                Some("text/plain, application/openmetrics-text"),
                Format::Text,
            ),
            (
                Some("application/openmetrics-text;q=0.4, text/plain;q=0.5"),
                Format::Text,
            ),
            (
                Some("application/openmetrics-text;q=0.5, text/*;q=0.4"),
                Format::OpenMetrics,
            ),
            (
                Some("application/openmetrics-text;q=0, */*;q=0.1"),
                Format::Text,
            ),
            (
                Some("text/plain;q=0, application/*;q=0.001"),
                Format::OpenMetrics,
            ),
            (
                Some("application/openmetrics-text;version=2.0.0"),
                Format::Text,
            ),
            (
                Some("application/openmetrics-text;q=nonsense"),
                Format::Text,
            ),
        ] {
            assert_eq!(Format::from_accept(accept), expected, "{accept:?}");
        }
    }
}
