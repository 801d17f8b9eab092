//! A backup into the place of a store: made beside it, checked, and only then put there, at once.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use thiserror::Error;

use super::check::Report;
use super::redb::LoadFault;
use super::{BackupFault, Counts, RedbStore, StoreError};

/// The new file until it is whole.
const UNFINISHED: &str = "gateway.redb.restoring";

/// Why nothing was restored. The store is as it was.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The backup is at fault.
    #[error("this backup cannot be used")]
    Backup(#[from] BackupFault),
    /// A newer gateway made the backup.
    #[error(
        "this backup has schema version {found} and this gateway knows {supported}: use the newer gateway"
    )]
    NewerSchema {
        /// The backup's.
        found: u64,
        /// The newest one that this program knows.
        supported: u64,
    },
    /// Something is there already.
    #[error(
        "{} is not empty: with --force the backup takes its place, and it is kept beside it", path.display()
    )]
    NotEmpty {
        /// The store.
        path: PathBuf,
    },
    /// What is there can't be read.
    #[error(
        "what is there cannot be read; with --force the backup takes its place, and it is kept beside it"
    )]
    Unreadable(#[source] StoreError),
    /// The store, the old one or the new one.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The store.
    pub path: PathBuf,
    /// What is in it now.
    pub counts: Counts,
    /// Where the old one is.
    pub aside: Option<PathBuf>,
    /// What does not fit in the backup, such as a deployment without its cluster.
    pub problems: Vec<String>,
}

/// Puts a backup in the place of the store in `state_dir`, which no gateway may have open. One that is not empty is
/// only replaced with `force`, and kept beside it under the time `now`.
///
/// # Errors
/// [`RestoreError`]; the store is as it was.
pub fn restore(
    state_dir: &Path,
    input: impl BufRead,
    force: bool,
    now: Timestamp,
) -> Result<Restored, RestoreError> {
    let path = state_dir.join(RedbStore::FILE_NAME);
    let old = Old::hold(state_dir, force)?;
    let new = state_dir.join(UNFINISHED);
    let made = fill(&new, input);
    let (counts, problems) = made.inspect_err(|_| drop(fs::remove_file(&new)))?;
    let aside = old.worth.then(|| aside(&path, now));
    replace(&path, &new, aside.as_deref()).map_err(|source| {
        drop(fs::remove_file(&new));
        StoreError::from_io(&path, source)
    })?;
    Ok(Restored {
        path,
        counts,
        aside,
        problems,
    })
}

/// The store that is there, locked so that no gateway starts with it meanwhile.
struct Old {
    _store: Result<RedbStore, File>,
    /// Whether it is worth keeping.
    worth: bool,
}

impl Old {
    fn hold(state_dir: &Path, force: bool) -> Result<Self, RestoreError> {
        let path = state_dir.join(RedbStore::FILE_NAME);
        let opened = match RedbStore::open_existing(state_dir) {
            // Made and held: a gateway that starts now must not make its own.
            Err(StoreError::Missing { .. }) => RedbStore::open(state_dir),
            other => other,
        };
        let store = match opened {
            Ok(store) => store,
            Err(error @ (StoreError::Corrupted { .. } | StoreError::NewerSchema { .. })) => {
                if !force {
                    return Err(RestoreError::Unreadable(error));
                }
                return Ok(Self {
                    _store: Err(lock(&path)?),
                    worth: true,
                });
            }
            Err(error) => return Err(error.into()),
        };
        let worth = !store.is_empty()?;
        if worth && !force {
            return Err(RestoreError::NotEmpty { path });
        }
        Ok(Self {
            _store: Ok(store),
            worth,
        })
    }
}

/// Locks a file as redb does.
fn lock(path: &Path) -> Result<File, StoreError> {
    let io = |source| StoreError::from_io(path, source);
    let file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

/// Makes a store of the backup, and answers what does not fit in it.
fn fill(new: &Path, input: impl BufRead) -> Result<(Counts, Vec<String>), RestoreError> {
    match fs::remove_file(new) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(StoreError::from_io(new, source).into());
        }
        Ok(()) | Err(_) => {}
    }
    let store = RedbStore::create(new.to_owned())?;
    let counts = store.load_backup(input).map_err(|fault| match fault {
        LoadFault::Backup(fault) => RestoreError::Backup(fault),
        LoadFault::Store(error) => RestoreError::Store(error),
        LoadFault::NewerSchema(found) => RestoreError::NewerSchema {
            found,
            supported: RedbStore::SCHEMA,
        },
    })?;
    let mut report = Report::default();
    store.inspect_records(&mut report)?;
    drop(store);
    let synced = File::open(new).and_then(|file| file.sync_all());
    synced.map_err(|source| StoreError::from_io(new, source))?;
    Ok((counts, report.problems))
}

fn aside(path: &Path, now: Timestamp) -> PathBuf {
    let time = now.strftime("%Y%m%dT%H%M%SZ");
    path.with_extension(format!("redb.before-restore-{time}"))
}

/// At no moment is there no store: a gateway that starts then would make an empty one.
fn replace(path: &Path, new: &Path, aside: Option<&Path>) -> io::Result<()> {
    if let Some(aside) = aside
        // Some file systems have no hard links.
        && fs::hard_link(path, aside).is_err()
    {
        copy_private(path, aside)?;
    }
    fs::rename(new, path)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

fn copy_private(from: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    let mut to = options.write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut File::open(from)?, &mut to)?;
    to.sync_all()
}

#[cfg(test)]
mod tests;
