//! Medians with their spread, and ratios of the same round.

use crate::Rival;

/// Figures of all rounds: by round, rival and name.
pub struct Table {
    rivals: Vec<Rival>,
    names: Vec<&'static str>,
    rounds: Vec<Vec<Vec<f64>>>,
}

impl Table {
    pub fn new(rivals: &[Rival], names: &[&'static str]) -> Self {
        Self {
            rivals: rivals.to_vec(),
            names: names.to_vec(),
            rounds: Vec::new(),
        }
    }

    pub fn add(&mut self, round: Vec<Vec<f64>>) {
        self.rounds.push(round);
    }

    /// Markdown: median (least–most), and `×` the ratio against the first rival.
    pub fn print(&self) {
        println!("| who | {} |", self.names.join(" | "));
        println!("| --- |{}", " --- |".repeat(self.names.len()));
        for (index, rival) in self.rivals.iter().enumerate() {
            let cells = (0..self.names.len()).map(|name| self.cell(index, name));
            let cells: Vec<_> = cells.collect();
            println!(
                "| {} | {} |",
                format!("{rival:?}").to_lowercase(),
                cells.join(" | ")
            );
        }
    }

    fn cell(&self, rival: usize, name: usize) -> String {
        let own = spread(self.rounds.iter().map(|round| round[rival][name]));
        if rival == 0 {
            return own;
        }
        let ratios = self
            .rounds
            .iter()
            .map(|round| round[rival][name] / round[0][name]);
        format!("{own}; × {}", spread(ratios))
    }
}

fn spread(values: impl Iterator<Item = f64>) -> String {
    let mut values: Vec<_> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    match (values.first(), values.last()) {
        (Some(least), Some(most)) => {
            let median = values[values.len() / 2];
            format!("{median:.2} ({least:.2}–{most:.2})")
        }
        _ => "–".to_owned(),
    }
}
