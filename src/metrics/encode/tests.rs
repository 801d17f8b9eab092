use std::collections::BTreeMap;

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, Quantile, Summary};
use proptest::prelude::*;

use super::*;

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn counter(labels: Vec<LabelPair>, value: f64) -> Metric {
    let mut metric = Metric::from_label(labels);
    let mut counter = Counter::default();
    counter.set_value(value);
    metric.set_counter(counter);
    metric
}

fn gauge(labels: Vec<LabelPair>, value: f64) -> Metric {
    let mut metric = Metric::from_label(labels);
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    metric.set_gauge(gauge);
    metric
}

fn histogram() -> Metric {
    let mut histogram = Histogram::default();
    let buckets = [(0.1, 100), (0.5, 145), (1.0, 150)].map(|(bound, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(count);
        bucket
    });
    histogram.set_bucket(buckets.to_vec());
    histogram.set_sample_count(152);
    histogram.set_sample_sum(30.25);
    let mut metric = Metric::from_label(vec![pair("endpoint", "/v1")]);
    metric.set_histogram(histogram);
    metric
}

fn summary() -> Metric {
    let mut quantile = Quantile::default();
    quantile.set_quantile(1.0);
    quantile.set_value(f64::NAN);
    let mut summary = Summary::default();
    summary.set_quantile(vec![quantile]);
    let mut metric = Metric::default();
    metric.set_summary(summary);
    metric
}

fn every_kind() -> Vec<MetricFamily> {
    let labels = vec![pair("method", "GET"), pair("said", "a \\ \"b\"\nc")];
    vec![
        family(
            "pipeops_agent_up",
            "Agent \"running\" \\ status\nnow",
            MetricType::GAUGE,
            vec![gauge(vec![], 1.0)],
        ),
        family(
            "pipeops_agent_memory_bytes",
            "Memory",
            MetricType::GAUGE,
            vec![gauge(vec![], 268_435_456.0)],
        ),
        family(
            "pipeops_agent_cpu_seconds_total",
            "Time",
            MetricType::COUNTER,
            vec![counter(vec![], 1.5)],
        ),
        family(
            "pipeops_api_requests_total",
            "Requests",
            MetricType::COUNTER,
            vec![counter(labels, 150.0)],
        ),
        family(
            "pipeops_tunnel_bytes_sent",
            "Bytes",
            MetricType::COUNTER,
            vec![counter(vec![], 9e15)],
        ),
        family(
            "pipeops_api_request_duration_seconds",
            "Duration",
            MetricType::HISTOGRAM,
            vec![histogram()],
        ),
        family(
            "quantiles",
            "Quantiles",
            MetricType::SUMMARY,
            vec![summary()],
        ),
        family(
            "low",
            "Low",
            MetricType::GAUGE,
            vec![gauge(vec![], f64::NEG_INFINITY), gauge(vec![], -0.5)],
        ),
    ]
}

fn text(format: Format) -> String {
    String::from_utf8(encode(&every_kind(), format)).unwrap()
}

#[test]
fn both_formats_are_written_so() {
    assert_eq!(text(Format::Text), include_str!("golden.txt"));
    assert_eq!(
        text(Format::OpenMetrics),
        include_str!("golden.openmetrics.txt")
    );
}

#[test]
fn nothing_is_still_a_whole_answer() {
    assert_eq!(encode(&[], Format::Text), b"");
    assert_eq!(encode(&[], Format::OpenMetrics), b"# EOF\n");
}

/// Reads one sample line back, as the formats' grammar says; `None` where it does not fit.
fn parse(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, value) = rest.split_once("=\"")?;
            let (value, after) = unescape(value)?;
            labels.insert(label.to_owned(), value);
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => {
                    rest = after.strip_prefix('}')?;
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ')?;
    Some((name.to_owned(), labels, value.parse().ok()?))
}

/// The text up to the closing quotation mark, and what comes after it.
fn unescape(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((out, text.get(at + 1..)?)),
            '\\' => out.push(match chars.next()?.1 {
                'n' => '\n',
                char @ ('\\' | '"') => char,
                _ => return None,
            }),
            '\n' => return None,
            char => out.push(char),
        }
    }
    None
}

proptest! {
    #[test]
    fn labels_and_values_read_back(said in "\\PC*|[\\\\\"\n,={} ]{0,12}", value in any::<u32>(), open: bool) {
        let format = if open { Format::OpenMetrics } else { Format::Text };
        let metric = counter(vec![pair("a", &said), pair("b", "x")], f64::from(value));
        let text = encode(&[family("n_total", &said, MetricType::COUNTER, vec![metric])], format);
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<_> = text.lines().collect();
        prop_assert_eq!(lines.len(), if open { 4 } else { 3 }, "{}", text);
        let (name, labels, read) = parse(lines[2]).unwrap();
        prop_assert_eq!(name, "n_total");
        prop_assert_eq!(&labels["a"], &said);
        prop_assert_eq!(&labels["b"], "x");
        prop_assert_eq!(read, f64::from(value));
        // In the text format a quotation mark in the help stands as it is.
        let quoted = format!("{}\"", lines[0].replacen("# HELP n_total ", "", 1).replacen("# HELP n ", "", 1));
        if open {
            prop_assert_eq!(unescape(&quoted).unwrap().0, said);
        }
    }
}
