//! Guesses what a mistyped name was meant to be.

use crate::wire::token::ClusterName;

/// More than three guesses are no help.
const MOST: usize = 3;

/// Up to three of `known` that `wanted` begins, or that are within a third of its length of typing errors.
pub(super) fn names<'a>(
    wanted: &str,
    known: impl Iterator<Item = &'a ClusterName>,
) -> Vec<ClusterName> {
    let allowed = wanted.len().div_ceil(3);
    let mut close: Vec<(usize, &ClusterName)> = known
        .map(|name| (distance(wanted.as_bytes(), name.as_str().as_bytes()), name))
        .filter(|(far, name)| *far <= allowed || name.as_str().starts_with(wanted))
        .collect();
    close.sort_unstable();
    close
        .into_iter()
        .take(MOST)
        .map(|(_, name)| name.clone())
        .collect()
}

/// Levenshtein distance in bytes. Both sides are at most 63 bytes: that is the limit of a name.
fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        for (b, cell) in right.iter().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(a != b);
            diagonal = *cell;
            *cell = replaced.min(before + 1).min(diagonal + 1);
            before = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_typing_errors() {
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"abc", b""), 3);
        assert_eq!(distance(b"same", b"same"), 0);
    }

    #[test]
    fn offers_the_closest_first() {
        let known: Vec<ClusterName> = ["prod", "prod-eu", "staging", "dev"]
            .map(|n| n.parse().unwrap())
            .into();
        let guess = |wanted| {
            names(wanted, known.iter())
                .iter()
                .map(|n| n.as_str().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(guess("prdo"), ["prod"]);
        assert_eq!(guess("pro"), ["prod", "prod-eu"]);
        assert_eq!(guess("stagign"), ["staging"]);
        assert_eq!(guess("elsewhere"), Vec::<String>::new());
    }
}
