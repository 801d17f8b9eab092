//! What the admin server asks of the program that it speaks for.

use std::borrow::Cow;

use jiff::Timestamp;
use prometheus::proto::MetricFamily;
use serde_json::Value;

use super::AdminConfig;

/// The agent or the gateway, as its admin server sees it. Called on the admin thread, which must
/// not wait for anybody: every answer is at hand.
pub trait Program: Send + Sync + 'static {
    /// The checks of `/readyz`; the program is ready when all of them pass.
    fn checks(&self) -> Vec<Check>;

    /// The components of `/livez`, which inform and do not decide.
    fn components(&self) -> Vec<Component>;

    /// The body of `/info`, JSON.
    ///
    /// # Errors
    /// What can not be written as JSON.
    fn info(&self) -> serde_json::Result<Vec<u8>>;

    /// The body of `/config`, JSON: the configuration in force, secrets redacted by their type.
    ///
    /// # Errors
    /// What can not be written as JSON.
    fn config(&self) -> serde_json::Result<Vec<u8>>;

    /// The `admin` section in force, whose token may change.
    fn admin(&self) -> AdminConfig;

    /// Everything at `/metrics`.
    fn metrics(&self) -> Vec<MetricFamily>;
}

/// One check of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name in the body.
    pub name: Cow<'static, str>,
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

/// A part of the program in the body of `/livez`.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// Its name.
    pub name: &'static str,
    /// `healthy` or `unhealthy`.
    pub healthy: bool,
    /// Its own fields, in their order.
    pub fields: Vec<(&'static str, Value)>,
}

impl Check {
    /// A check that passes unless there is something to say.
    #[must_use]
    pub fn new(name: &'static str, failing: Option<Failing>) -> Self {
        Self {
            name: name.into(),
            failing,
        }
    }
}

impl Failing {
    /// Why, and from when on.
    #[must_use]
    pub fn new(reason: impl Into<String>, since: Timestamp) -> Self {
        Self {
            reason: reason.into(),
            since,
        }
    }
}
