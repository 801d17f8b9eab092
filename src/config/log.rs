//! Structured logs on standard error.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::layer as fmt_layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, reload};

/// How events are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("'{other}' is neither text nor json")),
        }
    }
}

/// The `log` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter (`info,pipeops_tunnel::mux=debug`).
    #[schemars(extend("format" = "log-filter"))]
    pub level: String,
    /// How events are written.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// Whether a text says what to log. A word alone is a level: as the name of a module it would
/// silence everything else, which nobody means who mistypes `debug`.
pub(super) fn is_filter(text: &str) -> bool {
    let is_part = |part: &str| {
        let part = part.trim();
        part.contains(['=', '[']) || (!part.is_empty() && part.parse::<LevelFilter>().is_ok())
    };
    text.split(',').all(is_part) && EnvFilter::try_new(text).is_ok()
}

/// A level that is neither a level nor a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("log level: '{0}' is neither error, warn, info, debug or trace, nor a filter")]
pub struct LogLevelError(String);

/// Changes what is logged.
#[derive(Clone)]
pub struct LogControl(Arc<dyn Fn(EnvFilter) + Send + Sync>);

impl LogControl {
    /// Logs by this level or filter from now on.
    ///
    /// # Errors
    /// [`LogLevelError`]; nothing changes then.
    pub fn set_level(&self, level: &str) -> Result<(), LogLevelError> {
        (self.0)(filter(level)?);
        Ok(())
    }
}

impl fmt::Debug for LogControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogControl")
    }
}

fn filter(level: &str) -> Result<EnvFilter, LogLevelError> {
    let bad = || LogLevelError(level.to_owned());
    if !is_filter(level) {
        return Err(bad());
    }
    EnvFilter::try_new(level).map_err(|_| bad())
}

/// Starts logging for the process; a second call changes nothing.
///
/// # Errors
/// [`LogLevelError`] for a filter that can not be read.
pub fn init_logging(config: &LogConfig) -> Result<LogControl, LogLevelError> {
    let (filter, handle) = reload::Layer::new(filter(&config.level)?);
    let lines = fmt_layer().with_ansi(io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(filter);
    let started = match config.format {
        LogFormat::Text => registry
            .with(lines.with_target(false).with_writer(io::stderr))
            .try_init(),
        LogFormat::Json => {
            let json = lines.json().flatten_event(true).with_current_span(false);
            registry.with(json.with_writer(io::stderr)).try_init()
        }
    };
    // Without a subscriber of ours, somebody else's is there, and its level is not ours to change.
    drop(started);
    Ok(LogControl(Arc::new(move |filter| {
        drop(handle.reload(filter));
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_level_is_no_filter() {
        for text in [
            "info",
            "WARN",
            "off",
            "info,pipeops_tunnel::mux=debug",
            "[span]=trace",
        ] {
            assert!(is_filter(text), "{text}");
        }
        for text in ["", "verbose", "info,", "debgu", "info,hyper", "a=loud"] {
            assert!(!is_filter(text), "{text}");
        }
    }
}
