//! What came of it: samples, tables, plots, files.

mod plot;
pub(crate) mod sample;
pub(crate) mod stats;
mod table;

use std::path::Path;

use anyhow::{Context, Result};
use jiff::Zoned;
use serde::Serialize;

use crate::args::Args;
use crate::system::usage::cores;
use sample::Sample;

/// All of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    when: String,
    command: String,
    cores: f64,
    max_foreign: f64,
    samples: Vec<Sample>,
}

impl Report {
    /// An empty one, of now.
    pub(crate) fn new(args: &Args) -> Self {
        let words: Vec<_> = std::env::args().skip(1).collect();
        let release = if cfg!(debug_assertions) {
            ""
        } else {
            "--release "
        };
        Self {
            when: Zoned::now().strftime("%F %T").to_string(),
            command: format!("cargo run {release}-p loadtest -- {}", words.join(" ")),
            cores: cores(),
            max_foreign: args.max_foreign,
            samples: Vec::new(),
        }
    }

    /// Adds a sample.
    pub(crate) fn add(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// Whether some case could not be measured at all.
    pub(crate) fn failed(&self) -> bool {
        self.samples.iter().any(|sample| sample.failed.is_some())
    }

    fn is_calm(&self, sample: &Sample) -> bool {
        sample.foreign <= self.max_foreign
    }

    /// Whether a sample is in the tables: a calm one, or one of a row that has no calm one.
    fn counts(&self, sample: &Sample) -> bool {
        let same = |other: &&Sample| other.case == sample.case && other.subject == sample.subject;
        let mut row = self.samples.iter().filter(same);
        self.is_calm(sample) || !row.any(|other| self.is_calm(other))
    }

    /// The tables, in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let kept: Vec<&Sample> = self
            .samples
            .iter()
            .filter(|sample| self.counts(sample))
            .collect();
        let most = self
            .samples
            .iter()
            .map(|sample| sample.foreign)
            .fold(0.0, f64::max);
        let busy = self
            .samples
            .iter()
            .filter(|sample| !self.is_calm(sample))
            .count();
        let mut text = format!(
            "{}, {} cores: `{}`\n\nOther programs took up to {:.0} % of the machine during a sample; {busy} of {} samples had \
             more than {:.0} % beside them, and {} of these are left out.\n",
            self.when,
            self.cores,
            self.command,
            most * 100.0,
            self.samples.len(),
            self.max_foreign * 100.0,
            self.samples.len() - kept.len(),
        );
        text.push_str(&table::values(&kept));
        text.push_str(&table::ratios(&kept));
        for sample in &self.samples {
            let problem = sample.failed.iter().chain(&sample.notes);
            for said in problem {
                let Sample {
                    subject,
                    case,
                    round,
                    ..
                } = sample;
                text.push_str(&format!("\n- {subject} {case}, round {round}: {said}\n"));
            }
        }
        text
    }

    /// Writes results.json, results.md and the plots.
    ///
    /// # Errors
    /// When the folder can not be written to.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        std::fs::write(
            folder.join("results.json"),
            serde_json::to_string_pretty(self)?,
        )?;
        std::fs::write(folder.join("results.md"), self.markdown())?;
        for plot in plot::all(&self.samples) {
            plot.draw(folder)?;
        }
        Ok(())
    }
}
