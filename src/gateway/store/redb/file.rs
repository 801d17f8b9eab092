//! The file that the database is in, and its directory.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Builder, Database};

use super::fault::classify;
use crate::gateway::store::StoreError;

/// All clusters and tokens of ten thousand clusters, and the deployments that are looked at; redb's own default is
/// 1 GiB.
const CACHE_BYTES: usize = 16 << 20;

pub(super) fn open_database(path: &Path) -> Result<Database, StoreError> {
    let file = open_private(path).map_err(|source| StoreError::from_io(path, source))?;
    let backend = FileBackend::new(file).map_err(|error| classify(path, error.into()))?;
    Builder::new()
        .set_cache_size(CACHE_BYTES)
        // A damaged file must end in an error, not in a panic on a later read. It is read whole for this: 600 MB that
        // the system had in memory took 0.1 s, others take as long as the disk does.
        .set_check_integrity_on_open(true)
        .create_with_backend(backend)
        .map_err(|error| classify(path, error.into()))
}

fn open_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// A directory that exists is left as it is: it may be a volume whose mode is not ours to change. Files in it are 0600.
pub(super) fn create_private_dir(dir: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    let mode = made
        .and_then(|()| fs::metadata(dir))
        .map_err(|source| StoreError::from_io(dir, source))?;
    if mode.permissions().mode() & 0o002 != 0 {
        tracing::warn!(dir = %dir.display(), "anyone may write to the state directory: chmod it to 0700");
    }
    Ok(())
}
