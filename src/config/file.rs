//! Reading a YAML file into a configuration type.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Largest configuration file that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can not be read.
    #[error("can not read the configuration {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is larger than any configuration.
    #[error("the configuration {} has {size} bytes, above the limit of {MAX_FILE}", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// The file is not YAML, or has a key or value that does not belong there.
    #[error("{}: {reason}", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// A value is missing or does not go with the others.
    #[error("{field}: {reason}")]
    Invalid {
        /// The key's path (`pipeops.api_url`).
        field: &'static str,
        /// What is wrong and what to do.
        reason: String,
    },
}

/// Reads a configuration file.
///
/// # Errors
/// [`ConfigError`], which names the file.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let read_error = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let size = std::fs::metadata(path).map_err(read_error)?.len();
    if size > MAX_FILE {
        return Err(ConfigError::TooLarge {
            path: path.to_owned(),
            size,
        });
    }
    let text = std::fs::read_to_string(path).map_err(read_error)?;
    serde_saphyr::from_str(&text).map_err(|error| ConfigError::Parse {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
