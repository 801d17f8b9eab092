//! Kubernetes' quantities (`250m`, `1.5Gi`, `12e6`) as whole numbers.
//!
//! The grammar is that of `k8s.io/apimachinery/pkg/api/resource`. Rounded up, as Kubernetes does, and no larger than the
//! largest that it knows. The crates that do this are bound to one version of `k8s-openapi` each, or use floating point.

/// The largest quantity that Kubernetes knows, as a whole number: 2⁶³ - 1.
const MOST: u128 = i64::MAX as u128;

/// More digits than any quantity has that means something; the rest of a fraction is below a nano-unit.
const MAX_LENGTH: usize = 64;

/// Thousandths, for processor time: `1` is 1000.
pub(super) fn milli(text: &str) -> Option<u64> {
    scaled(text, 3)
}

/// Whole units, for bytes.
pub(super) fn whole(text: &str) -> Option<u64> {
    scaled(text, 0)
}

/// The quantity times ten to the power of `shift`; none for what is no quantity, or a negative one.
fn scaled(text: &str, shift: i32) -> Option<u64> {
    if text.len() > MAX_LENGTH {
        return None;
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (binary, exponent) = unit(suffix)?;
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    let point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let value = ceil(&digits, point.checked_add(shift)?, binary);
    u64::try_from(value.min(MOST)).ok()
}

/// What a suffix multiplies by: a power of two, and an exponent of ten.
fn unit(suffix: &str) -> Option<(u128, i32)> {
    let decimal = |exponent| Some((1, exponent));
    let binary = |power: u32| Some((1_u128 << power, 0));
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => decimal(suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    }
}

/// `0.DIGITS` times ten to the power of `point`, times `factor`, rounded up; capped far above [`MOST`].
fn ceil(digits: &[u8], point: i32, factor: u128) -> u128 {
    let first = digits.iter().position(|digit| *digit != b'0');
    let Some(digits) = first.map(|first| &digits[first..]) else {
        return 0;
    };
    let zeros = i32::try_from(first.unwrap_or(0)).unwrap_or(i32::MAX);
    let point = point.saturating_sub(zeros);
    if point > 20 {
        return MOST;
    }
    // Nine digits behind the point are exact for every unit; what is below them only rounds up.
    let kept = usize::try_from(point + 12).unwrap_or(0).min(digits.len());
    let mut value = digits[..kept]
        .iter()
        .fold(0_u128, |value, digit| value * 10 + u128::from(digit - b'0'));
    let rest = digits[kept..].iter().any(|digit| *digit != b'0');
    let places = point - i32::try_from(kept).unwrap_or(0);
    if places >= 0 {
        let power = 10_u128.pow(places.unsigned_abs());
        return value.saturating_mul(power).saturating_mul(factor);
    }
    value = value.saturating_mul(factor);
    let power = 10_u128.checked_pow(places.unsigned_abs());
    let Some(power) = power else { return 1 };
    value.div_ceil(power) + u128::from(rest && value % power == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantities_are_what_kubernetes_says_they_are() {
        for (text, expected) in [
            ("1", 1000),
            ("0", 0),
            ("0.0", 0),
            (".5", 500),
            ("5.", 5000),
            ("+2", 2000),
            ("250m", 250),
            ("1500000n", 2),
            ("1n", 1),
            ("999u", 1),
            ("2k", 2_000_000),
            ("1e3", 1_000_000),
            ("1E3", 1_000_000),
            ("12E-1", 1200),
            ("0.0001", 1),
            ("1.0001", 1001),
            ("000000000000000000000000000000000000002", 2000),
            ("0.000000000000000000000000000000000000001", 1),
        ] {
            assert_eq!(milli(text), Some(expected), "{text}");
        }
        for (text, expected) in [
            ("1Ki", 1024),
            ("1.5Gi", 1_610_612_736),
            ("128974848", 128_974_848),
            ("129e6", 129_000_000),
            ("129M", 129_000_000),
            ("123Mi", 128_974_848),
            ("128974848000m", 128_974_848),
            ("0.5Ki", 512),
            ("0.0001Ki", 1),
            ("1E", 1_000_000_000_000_000_000),
            ("7Ei", 8_070_450_532_247_928_832),
            ("8Ei", i64::MAX as u64),
            ("1e40", i64::MAX as u64),
            ("99999999999999999999999999999", i64::MAX as u64),
            ("1e-40", 1),
        ] {
            assert_eq!(whole(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_none() {
        for text in [
            "", ".", "m", "-1", "1.2.3", "1 Gi", "1K", "1ki", "0x10", "1e", "1e+", "1eé", "é",
            "NaN",
        ] {
            assert_eq!(whole(text), None, "{text}");
        }
        assert_eq!(whole(&"1".repeat(MAX_LENGTH + 1)), None);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "\\PC{0,70}") {
            prop_assert!(milli(&text) >= whole(&text));
        }

        #[test]
        fn numbers_of_any_form_do_not_panic(whole_part in "[0-9]{0,30}", fraction in "[0-9]{0,30}", suffix in "(n|u|m|k|Ei|e-?[0-9]{1,10})?") {
            let text = format!("{whole_part}.{fraction}{suffix}");
            prop_assert!(milli(&text) >= whole(&text) && whole(&text).is_some() == milli(&text).is_some());
        }

        #[test]
        fn whole_numbers_with_units_are_exact(number in 0_u64..1_000_000, power in 0_usize..6) {
            for (units, base) in [(["", "k", "M", "G", "T", "P"], 1000_u128), (["", "Ki", "Mi", "Gi", "Ti", "Pi"], 1024)] {
                let exact = (u128::from(number) * base.pow(u32::try_from(power).unwrap())).min(MOST);
                let text = format!("{number}{}", units[power]);
                prop_assert_eq!(whole(&text).map(u128::from), Some(exact));
            }
        }

        #[test]
        fn fractions_round_up(number in 0_u64..10_000_000_000) {
            prop_assert_eq!(milli(&format!("{number}n")), Some(number.div_ceil(1_000_000)));
            let decimal = format!("{}.{:09}", number / 1_000_000_000, number % 1_000_000_000);
            prop_assert_eq!(milli(&decimal), Some(number.div_ceil(1_000_000)));
        }
    }
}
