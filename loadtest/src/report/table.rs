//! Markdown.

use super::sample::Sample;
use super::stats::{Spread, ratio};

/// A table of all figures: a row for each case and subject; median, and least to most of several rounds.
pub(super) fn values(samples: &[&Sample]) -> String {
    let rows = rows(samples);
    let names = names(samples);
    let mut table = head("", &["case".to_owned(), "subject".to_owned()], &names);
    for (case, subject) in rows {
        let mut cells = vec![case.to_owned(), subject.to_owned()];
        cells.extend(names.iter().map(|name| {
            let values = figures(samples, case, subject, name)
                .into_iter()
                .map(|(_, value)| value);
            Spread::of(values.collect()).map(cell).unwrap_or_default()
        }));
        table.push_str(&line(&cells));
    }
    table
}

/// A table of ratios: the first subject against each other one; nothing when it is alone.
pub(super) fn ratios(samples: &[&Sample]) -> String {
    let rows = rows(samples);
    let Some((_, first)) = rows.first().copied() else {
        return String::new();
    };
    let names = names(samples);
    let mut lines = String::new();
    for (case, subject) in rows.into_iter().filter(|(_, subject)| *subject != first) {
        let mut cells = vec![case.to_owned(), format!("{first} / {subject}")];
        cells.extend(names.iter().map(|name| {
            let ours = figures(samples, case, first, name);
            let theirs = figures(samples, case, subject, name);
            ratio(&ours, &theirs).map(cell).unwrap_or_default()
        }));
        lines.push_str(&line(&cells));
    }
    if lines.is_empty() {
        return lines;
    }
    head(
        "Ratios, each of two figures of the same round.\n",
        &["case".to_owned(), "ratio".to_owned()],
        &names,
    ) + &lines
}

/// Cases and subjects, in the order in which they came.
fn rows<'a>(samples: &[&'a Sample]) -> Vec<(&'a str, &'a str)> {
    let mut cases: Vec<&str> = Vec::new();
    let mut subjects: Vec<&str> = Vec::new();
    let mut first: Vec<&&Sample> = samples.iter().collect();
    first.sort_by_key(|sample| sample.round);
    for sample in first {
        if !cases.contains(&sample.case.as_str()) {
            cases.push(&sample.case);
        }
        if !subjects.contains(&sample.subject.as_str()) {
            subjects.push(&sample.subject);
        }
    }
    let of_case = |case| subjects.iter().map(move |subject| (case, *subject));
    cases.iter().flat_map(|case| of_case(*case)).collect()
}

fn names(samples: &[&Sample]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in samples.iter().flat_map(|sample| sample.names()) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

fn figures(samples: &[&Sample], case: &str, subject: &str, name: &str) -> Vec<(u32, f64)> {
    let mine = samples
        .iter()
        .filter(|sample| sample.case == case && sample.subject == subject);
    mine.filter_map(|sample| Some((sample.round, sample.value(name)?)))
        .collect()
}

fn head(title: &str, fixed: &[String], names: &[String]) -> String {
    let all: Vec<String> = fixed.iter().chain(names).cloned().collect();
    let rule = all
        .iter()
        .zip(0..)
        .map(|(_, at)| if at < 2 { "---" } else { "---:" }.to_owned());
    format!(
        "\n{title}\n{}{}",
        line(&all),
        line(&rule.collect::<Vec<_>>())
    )
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn cell(spread: Spread) -> String {
    let Spread {
        least,
        median,
        most,
    } = spread;
    match (number(least), number(median), number(most)) {
        (least, median, most) if least == most && least == median => median,
        (least, median, most) => format!("{median} ({least}–{most})"),
    }
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::Outcome;

    fn sample(subject: &str, case: &str, round: u32, figure: f64) -> Sample {
        let mut outcome = Outcome::default();
        outcome.set("MiB/s", figure);
        Sample {
            subject: subject.to_owned(),
            case: case.to_owned(),
            round,
            failed: None,
            outcome,
        }
    }

    #[test]
    fn a_row_has_median_and_spread_and_a_lone_figure_has_none() {
        let samples = [
            sample("a", "1", 1, 300.0),
            sample("a", "1", 2, 100.0),
            sample("a", "1", 3, 120.0),
            sample("a", "8", 1, 2.0),
        ];
        let samples: Vec<_> = samples.iter().collect();
        let table = values(&samples);
        assert!(table.contains("| 1 | a | 120 (100–300) |"), "{table}");
        assert!(table.contains("| 8 | a | 2.00 |"), "{table}");
        assert_eq!(ratios(&samples), "", "nothing to compare with");
    }

    #[test]
    fn ratios_are_the_first_subject_against_the_others() {
        let samples = [
            sample("ours", "1", 1, 20.0),
            sample("peer", "1", 1, 10.0),
            sample("peer", "1", 2, 50.0),
            sample("ours", "1", 2, 50.0),
        ];
        let table = ratios(&samples.iter().collect::<Vec<_>>());
        assert!(
            table.contains("| 1 | ours / peer | 1.50 (1.00–2.00) |"),
            "{table}"
        );
    }

    #[test]
    fn numbers_keep_three_digits() {
        let texts = [1234.5, 45.67, 4.567, 0.04567, 0.0].map(number);
        assert_eq!(texts, ["1234", "45.7", "4.57", "0.046", "0"]);
    }
}
