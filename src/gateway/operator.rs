//! The operator's hands: the same operations whether a gateway runs or not.

mod download;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use tokio::net::UnixStream;

use super::admin_socket;
use super::api::clusters::{self, ClusterList};
use super::api::tokens::{self, CreateToken, CreatedToken, TokenPage, TokenQuery, TokenSummary};
use super::directory::Directory;
use super::store::{ClusterRecord, RedbStore, StoreError};
use crate::http::error::parse;
use crate::wire::error::ApiError;
use crate::wire::token::TokenId;

/// Longer than the gateway's own deadline, so that its error arrives instead of ours.
const DEADLINE: Duration = Duration::from_secs(15);
/// Bytes of an answer: a list of some fifty thousand clusters.
const MAX_ANSWER_BYTES: usize = 8 << 20;

type Connection = http1::Connection<TokioIo<UnixStream>, Full<Bytes>>;

/// Why an operation was not done.
#[derive(Debug, Error)]
pub enum OperatorError {
    /// It is refused, or failed, and the message says why.
    #[error("{}", said(.0))]
    Refused(#[from] ApiError),
    /// No gateway runs, and its store can't be opened either.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is a socket and it can't be used.
    #[error("cannot reach the gateway at {}: run this as the gateway's user or root", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the gateway at {} closed the connection: see its log, and whether it is restarting", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What hyper said.
        source: hyper::Error,
    },
    /// No answer in time.
    #[error("the gateway at {} did not answer within {} s: see its log", path.display(), DEADLINE.as_secs())]
    Deadline {
        /// The socket.
        path: PathBuf,
    },
    /// An answer that this program can't read.
    #[error("the gateway at {} gave an answer that this program does not understand: are both of the same version?", path.display())]
    Answer {
        /// The socket.
        path: PathBuf,
        /// What does not fit.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// An error for a terminal, where the details would be lost: the message and, if there is one, the reason.
fn said(error: &ApiError) -> String {
    match error.details.get("reason").and_then(Value::as_str) {
        Some(reason) => format!("{}: {reason}", error.message),
        None => error.message.clone(),
    }
}

/// A way to do the operator's work.
#[derive(Debug)]
pub enum Operator {
    /// Through the gateway that runs.
    Gateway(AdminClient),
    /// On the store, while no gateway runs.
    Direct(Arc<Directory>),
}

impl Operator {
    /// Talks to the gateway with this state directory if it runs, and opens its store otherwise.
    ///
    /// # Errors
    /// [`OperatorError::Connect`] when the socket is another user's, [`OperatorError::Store`] when no gateway answers
    /// and the store can't be opened.
    pub async fn open(state_dir: &Path) -> Result<Self, OperatorError> {
        if let Some(client) = AdminClient::find(state_dir).await? {
            return Ok(Self::Gateway(client));
        }
        let path = state_dir.join(admin_socket::FILE_NAME);
        let state_dir = state_dir.to_owned();
        let open = move || Directory::open(Arc::new(RedbStore::open(&state_dir)?));
        let opened = tokio::task::spawn_blocking(open).await;
        let directory = opened.map_err(|e| OperatorError::Connect {
            path,
            source: e.into(),
        })??;
        Ok(Self::Direct(directory))
    }

    /// Makes a token.
    ///
    /// # Errors
    /// [`OperatorError`], as for every method here.
    pub async fn create_token(&self, request: &CreateToken) -> Result<CreatedToken, OperatorError> {
        match self {
            Self::Gateway(client) => client.call(Method::POST, "/v1/tokens", Some(request)).await,
            Self::Direct(directory) => Ok(tokens::create(directory, request).await?),
        }
    }

    /// All tokens, also those that have ended; the oldest first.
    pub async fn list_tokens(&self) -> Result<Vec<TokenSummary>, OperatorError> {
        let mut query = TokenQuery {
            limit: Some(tokens::MAX_PAGE),
            cursor: None,
        };
        let mut all = Vec::new();
        loop {
            let page = self.page(&query).await?;
            all.extend(page.items);
            query.cursor = page.next_cursor;
            if query.cursor.is_none() {
                all.sort_by_key(|token| (token.created_at, token.id));
                return Ok(all);
            }
        }
    }

    async fn page(&self, query: &TokenQuery) -> Result<TokenPage, OperatorError> {
        let cursor = query
            .cursor
            .map(|id| format!("&cursor={id}"))
            .unwrap_or_default();
        match self {
            Self::Gateway(client) => {
                client
                    .get(&format!("/v1/tokens?limit={}{cursor}", tokens::MAX_PAGE))
                    .await
            }
            Self::Direct(directory) => Ok(tokens::list(directory, query)),
        }
    }

    /// Revokes a token and ends its live streams.
    pub async fn revoke_token(&self, id: TokenId) -> Result<TokenSummary, OperatorError> {
        match self {
            Self::Gateway(client) => {
                client
                    .call(Method::DELETE, &format!("/v1/tokens/{id}"), None::<&()>)
                    .await
            }
            Self::Direct(directory) => Ok(tokens::revoke(directory, id).await?),
        }
    }

    /// All clusters, by name.
    pub async fn list_clusters(&self) -> Result<Vec<ClusterRecord>, OperatorError> {
        let list: ClusterList = match self {
            Self::Gateway(client) => client.get("/v1/clusters").await?,
            Self::Direct(directory) => clusters::list(directory),
        };
        Ok(list.items)
    }
}

/// Nobody listens: the socket is missing, or a dead gateway left it.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

/// Speaks HTTP/1.1 over the admin socket; one connection for each call.
#[derive(Debug, Clone)]
pub struct AdminClient {
    path: PathBuf,
}

impl AdminClient {
    /// The gateway with this state directory, if it runs.
    ///
    /// # Errors
    /// [`OperatorError::Connect`] when the socket is another user's.
    pub async fn find(state_dir: &Path) -> Result<Option<Self>, OperatorError> {
        let path = state_dir.join(admin_socket::FILE_NAME);
        match UnixStream::connect(&path).await {
            Ok(_) => Ok(Some(Self { path })),
            Err(error) if is_absent(&error) => Ok(None),
            Err(source) => Err(OperatorError::Connect { path, source }),
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, OperatorError> {
        self.call(Method::GET, path, None::<&()>).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, OperatorError> {
        let body = body
            .map(serde_json::to_vec)
            .transpose()
            .map_err(|e| self.answer(e))?
            .unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "admin")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| self.answer(e))?;
        let exchange = tokio::time::timeout(DEADLINE, self.exchange(request)).await;
        let (status, json) = exchange.map_err(|_| OperatorError::Deadline {
            path: self.path.clone(),
        })??;
        if status.is_success() {
            return serde_json::from_slice(&json).map_err(|e| self.answer(e));
        }
        Err(self.refusal(&json))
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), OperatorError> {
        let (mut sender, connection) = self.connect().await?;
        let read = async {
            let sent = sender.send_request(request).await;
            let response = sent.map_err(|source| self.broken(source))?;
            let status = response.status();
            Ok((status, self.collect(response.into_body()).await?))
        };
        let mut read = std::pin::pin!(read);
        tokio::select! {
            biased;
            done = &mut read => done,
            _ = connection => read.await,
        }
    }

    async fn connect(
        &self,
    ) -> Result<(http1::SendRequest<Full<Bytes>>, Connection), OperatorError> {
        let stream = UnixStream::connect(&self.path).await;
        let stream = stream.map_err(|source| OperatorError::Connect {
            path: self.path.clone(),
            source,
        })?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        shaken.map_err(|source| self.broken(source))
    }

    async fn collect(&self, body: Incoming) -> Result<Bytes, OperatorError> {
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        Ok(body.map_err(|e| self.answer(e))?.to_bytes())
    }

    fn refusal(&self, json: &[u8]) -> OperatorError {
        match parse(json) {
            Some(refused) => refused.into(),
            None => self.answer("not an error of the contract"),
        }
    }

    fn broken(&self, source: hyper::Error) -> OperatorError {
        OperatorError::Broken {
            path: self.path.clone(),
            source,
        }
    }

    fn answer(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> OperatorError {
        OperatorError::Answer {
            path: self.path.clone(),
            source: source.into(),
        }
    }
}

#[cfg(test)]
mod tests;
