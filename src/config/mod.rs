//! What the configuration of both programs has in common: reading files, durations, logs.

mod duration;
mod file;
mod listen;
mod log;
mod secret;

pub use duration::{Period, PeriodError};
pub use file::{ConfigError, load};
pub use listen::{Listen, ListenError};
pub use log::{LogConfig, LogFormat, init_logging};
pub use secret::{REDACTED, Secret};
