//! The little statistics that tables need.

/// Least, median and greatest of some figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of these; `None` of none.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let lower = *values.get((values.len() - 1) / 2)?;
        Some(Self {
            least,
            median: f64::midpoint(lower, upper),
            most,
        })
    }
}

/// The ratio of two rows of figures that were measured in turns: each round's own ratio, so that a
/// slow moment of the machine, which hits both, cancels out. Rounds that lack one are left out.
pub(crate) fn ratio(ours: &[(u32, f64)], theirs: &[(u32, f64)]) -> Option<Spread> {
    let of = |(round, our): &(u32, f64)| {
        let (_, their) = theirs.iter().find(|(other, _)| other == round)?;
        (*their > 0.0).then(|| our / their)
    };
    Spread::of(ours.iter().filter_map(of).collect())
}

/// The slope of the line that fits these points best, in y for each x.
pub(crate) fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.iter().map(|_| 1.0).sum::<f64>();
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let over = points
        .iter()
        .map(|(x, y)| (x - mean_x) * (y - mean_y))
        .sum::<f64>();
    let under = points
        .iter()
        .map(|(x, _)| (x - mean_x).powi(2))
        .sum::<f64>();
    if under > 0.0 { over / under } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_of_an_even_number_lies_between_two() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(
            spread,
            Spread {
                least: 1.0,
                median: 2.5,
                most: 4.0
            }
        );
        assert_eq!(Spread::of(vec![7.0]).unwrap().median, 7.0);
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn a_ratio_compares_a_round_with_itself() {
        let ours = [(1, 10.0), (2, 100.0), (3, 30.0)];
        let theirs = [(2, 50.0), (1, 5.0), (4, 1.0), (3, 0.0)];
        let ratio = ratio(&ours, &theirs).unwrap();
        assert_eq!(
            ratio,
            Spread {
                least: 2.0,
                median: 2.0,
                most: 2.0
            }
        );
    }

    #[test]
    fn no_common_round_has_no_ratio() {
        assert_eq!(ratio(&[(1, 1.0)], &[(2, 1.0)]), None);
    }

    #[test]
    fn a_slope_is_that_of_the_line() {
        let line: Vec<_> = (0..10)
            .map(|n| (f64::from(n), 3.0 - 0.5 * f64::from(n)))
            .collect();
        assert!((slope(&line) + 0.5).abs() < 1e-9);
        assert_eq!(slope(&[(1.0, 5.0)]), 0.0);
        assert_eq!(slope(&[]), 0.0);
    }
}
