//! Plots in SVG: latency by percentile, a figure by the size of its case, and what was watched over time.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::sample::{Points, Sample};

const SIZE: (u32, u32) = (900, 520);

/// Some lines in one frame.
#[derive(Debug)]
pub(super) struct Plot {
    file: String,
    title: String,
    x: String,
    y: String,
    /// Labels of x that stand for more than their number.
    percentiles: bool,
    lines: Vec<(String, Points)>,
}

/// All plots that these samples give; of several rounds the first is drawn.
pub(super) fn all(samples: &[Sample]) -> Vec<Plot> {
    let first: Vec<&Sample> = samples.iter().filter(|sample| sample.round == 1).collect();
    let latency = Plot {
        file: "latency".to_owned(),
        title: "Latency by percentile".to_owned(),
        x: "percentile".to_owned(),
        y: "ms".to_owned(),
        percentiles: true,
        lines: lines(&first, |sample| &sample.curves, percentile_axis),
    };
    let over_time = Plot {
        file: "over-time".to_owned(),
        title: "Over time".to_owned(),
        x: "seconds".to_owned(),
        y: "see the legend".to_owned(),
        percentiles: false,
        lines: lines(&first, |sample| &sample.series, Clone::clone),
    };
    let mut all = vec![latency, over_time];
    all.extend(
        [
            "both s/GiB",
            "min/max share",
            "both KiB each",
            "server KiB/agent",
        ]
        .map(|name| by_size(&first, name)),
    );
    all.retain(|plot| plot.lines.iter().any(|(_, points)| points.len() > 1));
    all
}

fn lines(
    samples: &[&Sample],
    which: impl Fn(&Sample) -> &Vec<(String, Points)>,
    axis: impl Fn(&Points) -> Points,
) -> Vec<(String, Points)> {
    let of = |sample: &&Sample| -> Vec<_> {
        let label = |name: &str| {
            format!("{} {} {name}", sample.subject, sample.case)
                .trim_end()
                .to_owned()
        };
        which(sample)
            .iter()
            .map(|(name, points)| (label(name), axis(points)))
            .collect()
    };
    samples.iter().flat_map(of).collect()
}

/// A case's name begins with its size.
fn by_size(samples: &[&Sample], name: &str) -> Plot {
    let mut lines: Vec<(String, Points)> = Vec::new();
    for sample in samples {
        let (size, what) = sample.case.split_once(' ').unwrap_or_default();
        let (Ok(size), Some(value)) = (size.parse::<f64>(), sample.value(name)) else {
            continue;
        };
        let label = format!("{} {what}", sample.subject);
        match lines.iter_mut().find(|(known, _)| *known == label) {
            Some((_, points)) => points.push((size.log10(), value)),
            None => lines.push((label, vec![(size.log10(), value)])),
        }
    }
    Plot {
        file: name.replace([' ', '/'], "-"),
        title: name.to_owned(),
        x: "size, as a power of ten".to_owned(),
        y: name.to_owned(),
        percentiles: false,
        lines,
    }
}

/// Nines are what matters of percentiles: 90 is 1, 99 is 2.
fn percentile_axis(points: &Points) -> Points {
    let nines = |share: f64| -(1.0 - share / 100.0).max(1e-5).log10();
    points
        .iter()
        .map(|(share, ms)| (nines(*share), ms.max(1e-3).log10()))
        .collect()
}

impl Plot {
    /// Writes `FILE.svg` into a folder.
    pub(super) fn draw(&self, folder: &Path) -> Result<()> {
        let path = folder.join(format!("{}.svg", self.file));
        let failed = |error: &dyn std::fmt::Display| anyhow!("{}: {error}", path.display());
        let root = SVGBackend::new(&path, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|error| failed(&error))?;
        self.draw_on(&root).map_err(|error| failed(&error))?;
        root.present().map_err(|error| failed(&error))
    }

    fn draw_on(&self, root: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>) -> Result<()> {
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let mut chart = ChartBuilder::on(root);
        let mut chart = chart
            .caption(&self.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(64)
            .build_cartesian_2d(
                range(points().map(|point| point.0)),
                range(points().map(|point| point.1)),
            )?;
        let percentiles = self.percentiles;
        chart
            .configure_mesh()
            .x_desc(self.x.as_str())
            .y_desc(self.y.as_str())
            .x_label_formatter(&|nines| {
                if percentiles {
                    format!("{}", 100.0 - 100.0 / 10_f64.powf(*nines))
                } else {
                    format!("{nines:.3}")
                }
            })
            .y_label_formatter(&|value| {
                if percentiles {
                    format!("{:.3}", 10_f64.powf(*value))
                } else {
                    format!("{value}")
                }
            })
            .draw()?;
        for (index, (label, points)) in self.lines.iter().enumerate() {
            let color = Palette99::pick(index).stroke_width(2);
            chart
                .draw_series(LineSeries::new(points.iter().copied(), color))?
                .label(label)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
        }
        chart
            .configure_series_labels()
            .border_style(BLACK)
            .background_style(WHITE)
            .draw()?;
        Ok(())
    }
}

/// From the least to the greatest, and a little more; never empty.
fn range(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (least, most) = values.fold((f64::MAX, f64::MIN), |(least, most), value| {
        (least.min(value), most.max(value))
    });
    let room = ((most - least) * 0.05).max(0.01);
    least - room..most + room
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::latency::Latency;
    use crate::report::sample::Outcome;
    use std::time::Duration;

    #[test]
    fn samples_become_plots_with_their_labels() {
        let sample = |case: &str| {
            let mut outcome = Outcome::default();
            let mut latency = Latency::new().unwrap();
            latency.record(Duration::from_millis(3));
            outcome.latency(&latency, "");
            outcome.set("both s/GiB", 2.0);
            Sample {
                subject: "ours".to_owned(),
                case: case.to_owned(),
                round: 1,
                failed: None,
                outcome,
            }
        };
        let folder = tempfile::tempdir().unwrap();
        let plots = all(&[sample("10 active"), sample("100 active")]);
        for plot in &plots {
            plot.draw(folder.path()).unwrap();
        }
        let latency = std::fs::read_to_string(folder.path().join("latency.svg")).unwrap();
        assert!(latency.contains("ours 10 active") && latency.contains("percentile"));
        let cost = std::fs::read_to_string(folder.path().join("both-s-GiB.svg")).unwrap();
        assert!(cost.contains("ours active"), "one line for both sizes");
    }
}
