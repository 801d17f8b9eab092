//! Metrics as text. Our own, since the `prometheus` crate writes no OpenMetrics.

use std::fmt::{self, Write as _};

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

use super::format::Format;

/// Units that OpenMetrics is told of, where a name ends in one.
const UNITS: [&str; 3] = ["seconds", "bytes", "celsius"];

/// Writes families in the order given, each with its help and type.
///
/// In both formats a bucket's bound is written as a float (`le="1.0"`), so that a series keeps its
/// name when a scraper changes the format. Untyped families, which nothing here makes, are left out.
#[must_use]
pub fn encode(families: &[MetricFamily], format: Format) -> Vec<u8> {
    let mut out = String::new();
    for family in families.iter().filter_map(|f| Family::new(f, format)) {
        family.write(&mut out);
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out.into_bytes()
}

/// The unit that a name says in its last part, as OpenMetrics wants it.
pub(super) fn unit(name: &str) -> Option<&'static str> {
    let name = name.strip_suffix("_total").unwrap_or(name);
    UNITS
        .into_iter()
        .find(|unit| name.strip_suffix(unit).is_some_and(|n| n.ends_with('_')))
}

struct Family<'a> {
    family: &'a MetricFamily,
    format: Format,
    /// The name in the family's own lines; samples may add a suffix to it.
    name: &'a str,
    kind: &'static str,
}

impl<'a> Family<'a> {
    fn new(family: &'a MetricFamily, format: Format) -> Option<Self> {
        let mut name = family.name();
        let mut kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            MetricType::HISTOGRAM => "histogram",
            MetricType::SUMMARY => "summary",
            MetricType::UNTYPED => return None,
        };
        if format == Format::OpenMetrics && kind == "counter" {
            // A counter's samples end in `_total` there. One whose documented name does not must
            // keep its name, and so can not say that it is a counter.
            match name.strip_suffix("_total") {
                Some(stem) => name = stem,
                None => kind = "unknown",
            }
        }
        Some(Self {
            family,
            format,
            name,
            kind,
        })
    }

    fn write(&self, out: &mut String) {
        let quotes = self.format == Format::OpenMetrics;
        let help = Escaped(self.family.help(), quotes);
        line(out, format_args!("# HELP {} {help}", self.name));
        line(out, format_args!("# TYPE {} {}", self.name, self.kind));
        if let (Format::OpenMetrics, Some(unit)) = (self.format, unit(self.name)) {
            line(out, format_args!("# UNIT {} {unit}", self.name));
        }
        for metric in self.family.get_metric() {
            self.write_metric(out, metric);
        }
    }

    fn write_metric(&self, out: &mut String, metric: &Metric) {
        match self.family.get_field_type() {
            MetricType::COUNTER => self.sample(out, metric, metric.get_counter().get_value()),
            MetricType::GAUGE => self.sample(out, metric, metric.get_gauge().get_value()),
            MetricType::HISTOGRAM => self.write_histogram(out, metric),
            MetricType::SUMMARY => self.write_summary(out, metric),
            MetricType::UNTYPED => {}
        }
    }

    fn sample(&self, out: &mut String, metric: &Metric, value: f64) {
        let labels = Labels(metric.get_label(), None);
        let name = self.family.name();
        line(out, format_args!("{name}{labels} {}", Number(value)));
    }

    fn write_histogram(&self, out: &mut String, metric: &Metric) {
        let histogram = metric.get_histogram();
        let name = self.name;
        let count = histogram.get_sample_count();
        let bounded = histogram
            .get_bucket()
            .iter()
            .map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()))
            .filter(|(bound, _)| bound.is_finite());
        for (bound, count) in bounded.chain([(f64::INFINITY, count)]) {
            let labels = Labels(metric.get_label(), Some(("le", bound)));
            line(out, format_args!("{name}_bucket{labels} {count}"));
        }
        self.write_totals(out, metric, histogram.get_sample_sum(), count);
    }

    fn write_summary(&self, out: &mut String, metric: &Metric) {
        let summary = metric.get_summary();
        for quantile in summary.get_quantile() {
            let labels = Labels(metric.get_label(), Some(("quantile", quantile.quantile())));
            let value = Number(quantile.value());
            line(out, format_args!("{}{labels} {value}", self.name));
        }
        let (sum, count) = (summary.sample_sum(), summary.sample_count());
        self.write_totals(out, metric, sum, count);
    }

    fn write_totals(&self, out: &mut String, metric: &Metric, sum: f64, count: u64) {
        let labels = Labels(metric.get_label(), None);
        let name = self.name;
        line(out, format_args!("{name}_sum{labels} {}", Number(sum)));
        line(out, format_args!("{name}_count{labels} {count}"));
    }
}

fn line(out: &mut String, text: fmt::Arguments<'_>) {
    // A String takes all that is written to it.
    out.write_fmt(text).unwrap_or_default();
    out.push('\n');
}

/// A sample's labels in braces; nothing when there are none.
struct Labels<'a>(&'a [LabelPair], Option<(&'static str, f64)>);

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = '{';
        for pair in self.0 {
            let value = Escaped(pair.value(), true);
            write!(f, "{before}{}=\"{value}\"", pair.name())?;
            before = ',';
        }
        if let Some((name, bound)) = self.1 {
            write!(f, "{before}{name}=\"{}\"", Bound(bound))?;
            before = ',';
        }
        if before == ',' {
            f.write_str("}")
        } else {
            Ok(())
        }
    }
}

/// Text with backslashes and line feeds escaped, and quotation marks where they are to be.
struct Escaped<'a>(&'a str, bool);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| match char {
            '\\' => f.write_str("\\\\"),
            '\n' => f.write_str("\\n"),
            '"' if self.1 => f.write_str("\\\""),
            char => f.write_char(char),
        })
    }
}

/// A sample's value: whole numbers without a point.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            value => write!(f, "{value}"),
        }
    }
}

/// A bound or a quantile: always with a point.
struct Bound(f64);

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_finite() && self.0.fract() == 0.0 {
            return write!(f, "{:.1}", self.0);
        }
        Number(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests;
