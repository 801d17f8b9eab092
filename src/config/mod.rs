//! What the configuration of both programs has in common: reading files, durations, logs.

mod duration;
mod file;
mod log;

pub use duration::{Period, PeriodError};
pub use file::{ConfigError, load};
pub use log::{LogConfig, LogFormat, init_logging};
