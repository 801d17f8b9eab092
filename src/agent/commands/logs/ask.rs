//! How a log is asked for.

use std::time::Duration;

use futures_util::AsyncBufRead;
use kube::api::LogParams;
use tokio::time::timeout;

use super::{Reader, lines};
use crate::agent::commands::pod::{self, Seen};

/// How long the API server may take to begin with a log that is not followed. One that is may be silent for ever.
const ANSWER: Duration = Duration::from_secs(60);

impl Reader<'_> {
    /// Asks for the log, from a little before what was read last.
    pub(super) async fn open(&mut self) -> Result<impl AsyncBufRead + Unpin + use<>, kube::Error> {
        let error = match self.request().await {
            Ok(_) if self.is_of_another().await => return self.request().await.map(Box::pin),
            Ok(log) => return Ok(Box::pin(log)),
            Err(error) => error,
        };
        if self.container.is_none() && pod::is_ambiguous(&error) {
            self.container = pod::default_container(&self.pods, &self.command.pod).await;
            if self.container.is_some() {
                return self.request().await.map(Box::pin);
            }
        }
        Err(error)
    }

    /// Whether what was just opened may be the log of a container that came after the one that is followed; asked for again,
    /// it is that one's. Looked at after opening: a log that is opened stays the same container's.
    async fn is_of_another(&mut self) -> bool {
        if self.previous || !self.is_followed() {
            return false;
        }
        if let Seen::There(then) = &self.followed
            && let Seen::There(now) = self.look().await
            && now.before.as_ref() == Some(&then.id)
        {
            self.previous = true;
        }
        self.previous
    }

    async fn request(&self) -> Result<impl AsyncBufRead + use<>, kube::Error> {
        let params = self.params();
        let request = self.pods.log_stream(&self.command.pod, &params);
        if params.follow {
            return request.await;
        }
        timeout(ANSWER, request).await.unwrap_or_else(|_| {
            let why = format!("no log after {} s", ANSWER.as_secs());
            Err(kube::Error::Service(why.into()))
        })
    }

    fn params(&self) -> LogParams {
        let resumed = self.lines.last().map(lines::before);
        let tail = self.command.tail_lines.filter(|_| resumed.is_none());
        LogParams {
            container: self.container.clone(),
            follow: self.command.follow,
            previous: self.previous,
            since_time: resumed.or(self.command.since.map(lines::second)),
            tail_lines: tail.map(|lines| i64::try_from(lines).unwrap_or(i64::MAX)),
            timestamps: true,
            ..LogParams::default()
        }
    }
}
