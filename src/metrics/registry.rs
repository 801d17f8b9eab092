//! The metrics of one program: made once, at its start, each with a line in the catalogue.

use std::fmt;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge};
use prometheus::{IntGaugeVec, Opts, process_collector::ProcessCollector};

use super::label::{Labels, Table};

/// A label in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelEntry {
    /// Its name.
    pub name: String,
    /// Its values, or what they are when they are found out as the program runs.
    pub values: Vec<String>,
}

/// A metric in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The whole name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// What it says.
    pub help: String,
    /// Its labels.
    pub labels: Vec<LabelEntry>,
}

/// A label whose values are found out as the program runs, and how they are bounded.
#[derive(Debug, Clone, Copy)]
pub struct Open {
    /// The label's name.
    pub name: &'static str,
    /// Which values there are, for the catalogue.
    pub values: &'static str,
}

/// What a metric that is worked out at each scrape is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// The metrics of one program. Each program has its own: a process may hold two.
#[derive(Debug)]
pub struct Registry {
    prefix: &'static str,
    inner: prometheus::Registry,
    entries: Vec<Entry>,
}

impl Registry {
    /// An empty registry, whose metrics' names begin with `prefix`.
    #[must_use]
    pub fn new(prefix: &'static str) -> Self {
        Self {
            prefix,
            inner: prometheus::Registry::new(),
            entries: Vec::new(),
        }
    }

    /// The values of all metrics, by name.
    #[must_use]
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.inner.gather()
    }

    /// Every metric, by name.
    #[must_use]
    pub fn catalogue(&self) -> Vec<Entry> {
        let mut entries = self.entries.clone();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }

    /// A counter.
    ///
    /// # Errors
    /// As all of these: when the name is taken or is none.
    pub fn counter(&mut self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        let opts = self.enter(name, "counter", help, vec![]);
        self.add(IntCounter::with_opts(opts)?)
    }

    /// A counter of seconds.
    ///
    /// # Errors
    /// As [`Registry::counter`].
    pub fn seconds(&mut self, name: &str, help: &str) -> prometheus::Result<prometheus::Counter> {
        let opts = self.enter(name, "counter", help, vec![]);
        self.add(prometheus::Counter::with_opts(opts)?)
    }

    /// A counter for each combination of labels.
    ///
    /// # Errors
    /// As [`Registry::counter`].
    pub fn counters<L: Labels>(
        &mut self,
        name: &str,
        help: &str,
    ) -> prometheus::Result<Table<IntCounter, L>> {
        Table::of(&self.counters_by::<L>(None, name, help)?, &[])
    }

    /// Counters with labels of which the first has values that are found out later.
    ///
    /// # Errors
    /// As [`Registry::counter`].
    pub(super) fn counters_by<L: Labels>(
        &mut self,
        first: Option<Open>,
        name: &str,
        help: &str,
    ) -> prometheus::Result<IntCounterVec> {
        let labels = entries::<L>(first);
        let opts = self.enter(name, "counter", help, labels.clone());
        self.add(IntCounterVec::new(opts, &names(&labels))?)
    }

    /// A gauge.
    ///
    /// # Errors
    /// As [`Registry::counter`].
    pub fn gauge(&mut self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        let opts = self.enter(name, "gauge", help, vec![]);
        self.add(IntGauge::with_opts(opts)?)
    }

    /// A gauge for each combination of labels.
    ///
    /// # Errors
    /// As [`Registry::counter`].
    pub fn gauges<L: Labels>(
        &mut self,
        name: &str,
        help: &str,
    ) -> prometheus::Result<Table<IntGauge, L>> {
        let labels = entries::<L>(None);
        let opts = self.enter(name, "gauge", help, labels.clone());
        let family = self.add(IntGaugeVec::new(opts, &names(&labels))?)?;
        Table::of(&family, &[])
    }

    /// A histogram of durations in seconds, with these upper bounds.
    ///
    /// # Errors
    /// As [`Registry::counter`].
    pub fn histogram(
        &mut self,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> prometheus::Result<Histogram> {
        let opts = self.enter(name, "histogram", help, vec![]);
        let opts = HistogramOpts::from(opts).buckets(buckets.to_vec());
        self.add(Histogram::with_opts(opts)?)
    }

    /// A histogram for each value of a label that is found out later.
    ///
    /// # Errors
    /// As [`Registry::counter`].
    pub(super) fn histograms_by(
        &mut self,
        first: Open,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        let labels = vec![first.entry()];
        let opts = self.enter(name, "histogram", help, labels.clone());
        let opts = HistogramOpts::from(opts).buckets(buckets.to_vec());
        self.add(HistogramVec::new(opts, &names(&labels))?)
    }

    /// A metric without labels that is worked out at each scrape.
    ///
    /// # Errors
    /// As [`Registry::counter`].
    pub fn computed(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        value: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> prometheus::Result<()> {
        let values = move || vec![(vec![], value())];
        self.computed_by(kind, name, help, &[], values)
    }

    /// A metric with labels that is worked out at each scrape: for each series the labels' values,
    /// in order, and its own.
    ///
    /// # Errors
    /// As [`Registry::counter`].
    pub fn computed_by(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        labels: &[Open],
        values: impl Fn() -> Vec<(Vec<String>, f64)> + Send + Sync + 'static,
    ) -> prometheus::Result<()> {
        let labels: Vec<_> = labels.iter().map(Open::entry).collect();
        let text = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let opts = self.enter(name, text, help, labels.clone());
        let labels: Vec<_> = labels.into_iter().map(|label| label.name).collect();
        let desc = Desc::new(opts.name, opts.help, labels.clone(), Default::default())?;
        self.inner.register(Box::new(Computed {
            desc,
            kind,
            labels,
            values: Box::new(values),
        }))
    }

    /// What the `prometheus` crate says of the process.
    ///
    /// # Errors
    /// As [`Registry::counter`].
    pub(super) fn process(&mut self) -> prometheus::Result<()> {
        let process = ProcessCollector::for_self();
        for family in process.collect() {
            let counts = family.get_field_type() == MetricType::COUNTER;
            self.entries.push(Entry {
                name: family.name().to_owned(),
                kind: if counts { "counter" } else { "gauge" },
                help: family.help().to_owned(),
                labels: vec![],
            });
        }
        self.inner.register(Box::new(process))
    }

    fn enter(
        &mut self,
        name: &str,
        kind: &'static str,
        help: &str,
        labels: Vec<LabelEntry>,
    ) -> Opts {
        // The contract's own names are whole as they are.
        let name = if name.starts_with("pipeops_") {
            name.to_owned()
        } else {
            format!("{}_{name}", self.prefix)
        };
        self.entries.push(Entry {
            name: name.clone(),
            kind,
            help: help.to_owned(),
            labels,
        });
        Opts::new(name, help)
    }

    fn add<M: Collector + Clone + 'static>(&self, metric: M) -> prometheus::Result<M> {
        self.inner.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

impl Open {
    fn entry(&self) -> LabelEntry {
        LabelEntry {
            name: self.name.to_owned(),
            values: vec![self.values.to_owned()],
        }
    }
}

fn entries<L: Labels>(first: Option<Open>) -> Vec<LabelEntry> {
    let fixed = L::describe().into_iter().map(|(name, values)| LabelEntry {
        name: name.to_owned(),
        values: values
            .into_iter()
            .map(|value| format!("`{value}`"))
            .collect(),
    });
    first.iter().map(Open::entry).chain(fixed).collect()
}

fn names(labels: &[LabelEntry]) -> Vec<&str> {
    labels.iter().map(|label| label.name.as_str()).collect()
}

type Values = Box<dyn Fn() -> Vec<(Vec<String>, f64)> + Send + Sync>;

/// A metric whose values are asked for at each scrape.
struct Computed {
    desc: Desc,
    kind: Kind,
    labels: Vec<String>,
    values: Values,
}

impl fmt::Debug for Computed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.desc.fmt(f)
    }
}

impl Collector for Computed {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let series = (self.values)().into_iter();
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(match self.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
        });
        family.set_metric(
            series
                .map(|(labels, value)| self.metric(labels, value))
                .collect(),
        );
        vec![family]
    }
}

impl Computed {
    fn metric(&self, labels: Vec<String>, value: f64) -> Metric {
        let pairs = self.labels.iter().zip(labels).map(|(name, text)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.clone());
            pair.set_value(text);
            pair
        });
        let mut metric = Metric::from_label(pairs.collect());
        match self.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        metric
    }
}
