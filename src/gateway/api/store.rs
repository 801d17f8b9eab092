//! `/v1/store/backup`: everything that the gateway keeps, as one file.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::mpsc;

use super::error::with_causes;
use crate::gateway::admin_socket::Patience;
use crate::gateway::store::{BackupError, History};
use crate::wire::error::{ApiError, ErrorCode};

/// What a backup may take: at 50 MB/s some 40 GB. It keeps the pages that are replaced meanwhile on the disk.
const DEADLINE: Duration = Duration::from_secs(900);
/// Bytes in one piece of the answer.
const PIECE: usize = 64 << 10;
/// Pieces that wait for the reader; then the store's thread does.
const WAITING: usize = 4;

type Piece = Result<Bytes, BackupError>;

/// Sends a backup while it is made. Where that fails the answer breaks off, which the client sees by the missing end.
pub(super) async fn backup(
    State(history): State<Arc<dyn History>>,
    patience: Option<Extension<Patience>>,
) -> Result<Response, ApiError> {
    if let Some(Extension(patience)) = patience {
        patience.extend(DEADLINE);
    }
    let (sender, mut pieces) = mpsc::channel(WAITING);
    drop(tokio::task::spawn_blocking(move || {
        make(&*history, &sender)
    }));
    let first = pieces.recv().await.unwrap_or_else(|| {
        let stopped = io::Error::other("the gateway is stopping");
        Err(BackupError::Write(stopped))
    });
    let first = first.map_err(|e| ApiError::new(ErrorCode::Internal, with_causes(&e)))?;
    let rest = stream::poll_fn(move |cx| pieces.poll_recv(cx));
    let body = Body::from_stream(stream::iter([Piece::Ok(first)]).chain(rest));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

fn make(history: &dyn History, sender: &mpsc::Sender<Piece>) {
    let mut out = Pieces {
        sender,
        piece: Vec::with_capacity(PIECE),
    };
    if let Err(error) = history.backup(&mut out) {
        tracing::warn!(error = with_causes(&error), "a backup was not finished");
        // Nobody may be there any more.
        drop(sender.blocking_send(Err(error)));
    }
}

/// Cuts what is written into pieces, and waits while too many are on their way.
struct Pieces<'a> {
    sender: &'a mpsc::Sender<Piece>,
    piece: Vec<u8>,
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE - self.piece.len();
        let (fits, _) = bytes.split_at(bytes.len().min(room));
        self.piece.extend_from_slice(fits);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(fits.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let sent = self.sender.blocking_send(Ok(piece.into()));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
