//! Which build this is.

/// The package's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that it was built from, eight digits, or what the variable `PIPEOPS_GIT_COMMIT` said;
/// `unknown` without either.
pub const GIT_COMMIT: &str = env!("PIPEOPS_BUILD_COMMIT");

/// When, as RFC 3339 in UTC and whole seconds.
pub const BUILD_DATE: &str = env!("PIPEOPS_BUILD_DATE");

/// The compiler: `rustc` and its version.
pub const RUSTC: &str = env!("PIPEOPS_BUILD_RUSTC");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_its_form() {
        assert!(BUILD_DATE.parse::<jiff::Timestamp>().is_ok() && BUILD_DATE.ends_with('Z'));
        assert!(!GIT_COMMIT.is_empty());
        assert!(RUSTC.starts_with("rustc 1."), "{RUSTC}");
        assert_eq!(VERSION.split('.').count(), 3);
    }
}
