//! A unix socket in the state directory for the operator on the same machine.
//!
//! Who can open it is the operator: the socket is 0600, and the peer's user must be the gateway's own or root. The
//! command line talks to it while a gateway runs; `api` says what it serves.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The socket's name in the state directory.
pub const FILE_NAME: &str = "admin.sock";
/// Connections at once. An operator and a few scripts; each is one request.
const MAX_CONNECTIONS: usize = 16;
/// A local client sends its head at once.
const HEADER_DEADLINE: Duration = Duration::from_secs(5);
/// A whole connection: the request's own deadline and the reading of the answer.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(30);
/// Lets the answer to one request take longer than the 30 s of all others; in the request's extensions.
#[derive(Debug, Clone)]
pub struct Patience(watch::Sender<Duration>);

impl Patience {
    /// The whole connection may take this long.
    pub fn extend(&self, deadline: Duration) {
        self.0.send_replace(deadline);
    }
}

/// How long requests under way may take once the gateway stops.
const GRACE: Duration = Duration::from_secs(5);
/// Waits out a shortage of descriptors instead of spinning on it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no admin socket.
#[derive(Debug, Error)]
pub enum AdminSocketError {
    /// Another gateway answers on it.
    #[error("{} is served by another gateway: stop it, or choose another state directory", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket has its name.
    #[error("{} exists and is not a socket: move it away", path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses.
    #[error(
        "cannot make the admin socket {}: check the permissions of the state directory, and that the path is shorter \
         than 90 characters", path.display()
    )]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The socket, bound. Removes its file when dropped.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    owner: u32,
    inode: u64,
}

impl AdminSocket {
    /// Binds `<state_dir>/admin.sock`, replacing one that a dead gateway left. Needs a runtime.
    ///
    /// # Errors
    /// [`AdminSocketError`], also when another gateway answers there.
    pub fn bind(state_dir: &Path) -> Result<Self, AdminSocketError> {
        let path = state_dir.join(FILE_NAME);
        refuse_live(&path)?;
        bind_private(state_dir, &path).map_err(|source| AdminSocketError::Io { path, source })
    }

    /// Serves until `stop`, then gives requests under way five seconds.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        while let Some(Some(permit)) = stop.run_until_cancelled(next_permit(&permits)).await {
            let Some(accepted) = stop.run_until_cancelled(self.accept()).await else {
                break;
            };
            while connections.try_join_next().is_some() {}
            if let Some(stream) = accepted {
                let router = router.clone();
                let stop = stop.clone();
                connections.spawn(async move {
                    serve_one(stream, router, stop).await;
                    drop(permit);
                });
            }
        }
        let finished = tokio::time::timeout(GRACE, async {
            while connections.join_next().await.is_some() {}
        });
        if finished.await.is_err() {
            tracing::warn!("an admin request was cut off at shutdown");
        }
    }

    /// The next connection of someone who may; `None` is worth another try.
    async fn accept(&self) -> Option<UnixStream> {
        match self.listener.accept().await {
            Ok((stream, _)) if self.may(&stream) => Some(stream),
            Ok(_) => {
                tracing::warn!("refused another user on the admin socket");
                None
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept on the admin socket");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }

    fn may(&self, stream: &UnixStream) -> bool {
        stream
            .peer_cred()
            .is_ok_and(|peer| peer.uid() == self.owner || peer.uid() == 0)
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // A successor may have put its own socket there.
        let ours = fs::metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove the admin socket");
        }
    }
}

async fn next_permit(permits: &Arc<Semaphore>) -> Option<tokio::sync::OwnedSemaphorePermit> {
    Arc::clone(permits).acquire_owned().await.ok()
}

async fn serve_one(stream: UnixStream, router: Router, stop: CancellationToken) {
    let (patience, deadline) = watch::channel(CONNECTION_DEADLINE);
    let router = router.layer(Extension(Patience(patience)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let served = async {
        tokio::select! {
            result = connection.as_mut() => return result,
            () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    };
    tokio::select! {
        biased;
        result = served => if let Err(error) = result {
            tracing::debug!(%error, "an admin connection failed");
        },
        () = elapsed(deadline) => tracing::debug!("an admin connection took too long"),
    }
}

/// Waits until a deadline that may be put off meanwhile.
async fn elapsed(mut deadline: watch::Receiver<Duration>) {
    let begun = Instant::now();
    loop {
        let at = begun + *deadline.borrow_and_update();
        tokio::select! {
            () = tokio::time::sleep_until(at) => return,
            Ok(()) = deadline.changed() => {}
        }
    }
}

fn refuse_live(path: &Path) -> Result<(), AdminSocketError> {
    let io = |source| AdminSocketError::Io {
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(AdminSocketError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(AdminSocketError::InUse {
            path: path.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(io(error)),
    }
}

/// Binds inside a directory that only we can enter and moves the socket out once its mode is set: there is no moment
/// when others could connect. The move replaces a stale socket.
fn bind_private(state_dir: &Path, path: &Path) -> io::Result<AdminSocket> {
    let room = state_dir.join(format!(".admin-{}", std::process::id()));
    if room.exists() {
        fs::remove_dir_all(&room)?;
    }
    DirBuilder::new().mode(0o700).create(&room)?;
    let inside = room.join("s");
    let bound = UnixListener::bind(&inside).and_then(|listener| {
        fs::set_permissions(&inside, Permissions::from_mode(0o600))?;
        let found = fs::metadata(&inside)?;
        fs::rename(&inside, path)?;
        Ok(AdminSocket {
            listener,
            path: path.to_owned(),
            owner: found.uid(),
            inode: found.ino(),
        })
    });
    fs::remove_dir_all(&room)?;
    bound
}
