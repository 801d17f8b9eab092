//! What the admin server asks of the program that it speaks for.

use jiff::Timestamp;
use prometheus::proto::MetricFamily;
use serde_json::{Map, Value};

/// The agent or the gateway, as its admin server sees it. Called on the admin thread, which must
/// not wait for anybody: every answer is at hand.
pub trait Program: Send + Sync + 'static {
    /// The checks of `/readyz`; the program is ready when all of them pass.
    fn checks(&self) -> Vec<Check>;

    /// The components of `/livez`, which inform and do not decide.
    fn components(&self) -> Map<String, Value>;

    /// The body of `/info`.
    fn info(&self) -> Value;

    /// The body of `/config`: the configuration in force, secrets redacted by their type.
    fn config(&self) -> Value;

    /// Everything at `/metrics`.
    fn metrics(&self) -> Vec<MetricFamily>;
}

/// One check of readiness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name in the body.
    pub name: &'static str,
    /// Why it does not pass.
    pub failing: Option<Failing>,
}

/// A check that does not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// In a sentence, for an operator.
    pub reason: String,
    /// From when on.
    pub since: Timestamp,
}
