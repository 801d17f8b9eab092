//! Configuration, of both programs alike: layers of files, variables and flags; the schema that the
//! types make; what is wrong, and where; the commands that show it; and changing it while running.
//!
//! A program implements [`Settings`] for its type, and everything else here follows from that.

mod check;
pub mod cli;
mod duration;
mod file;
pub mod flags;
mod formats;
mod layers;
mod listen;
mod live;
mod log;
mod problem;
mod reload;
mod schema;
mod secret;
mod settings;
mod tree;
mod variables;
mod yaml;

pub use duration::{Period, PeriodError};
pub use formats::{FORMATS, Format};
pub use layers::{Inputs, Loaded};
pub use listen::{Listen, ListenError};
pub use live::Live;
pub use log::{LogConfig, LogControl, LogFormat, LogLevelError, init_logging};
pub use problem::{Problem, Problems};
pub use reload::Reloader;
pub use schema::schema;
pub use secret::{REDACTED, Secret};
pub use settings::{
    ADMIN_LISTEN, ADMIN_TOKEN, Flag, LOG_FORMAT, LOG_LEVEL, METRICS_LISTEN, MONITORING_ENABLED,
    Named, Settings, Violation, Ways,
};
pub use tree::{Mark, Origin, Path};
pub use variables::{PREFIX, variable};
