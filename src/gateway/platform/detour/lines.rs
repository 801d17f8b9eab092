//! A log told line by line, with an end that says how it was.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame};
use memchr::memchr;
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, Sleep, sleep};

use crate::gateway::body::ResponseBody;
use crate::gateway::platform::sse;
use crate::http::error;
use crate::http::exchange::ExchangeError;

/// A line above this is told in pieces.
const MOST_LINE: usize = 64 * 1024;

/// Nothing is written for so long, and a reader of events is told that the stream lives.
const QUIET: Duration = Duration::from_secs(15);

/// The body of a log in lines.
pub(in crate::gateway) struct Lines {
    inner: Option<Box<ResponseBody>>,
    events: bool,
    /// What has come of a line that is not over.
    line: BytesMut,
    quiet: Pin<Box<Sleep>>,
}

#[derive(Serialize)]
struct Line<'a> {
    line: &'a str,
    /// The line goes on in the next.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
}

impl Lines {
    pub(super) fn new(inner: ResponseBody, events: bool) -> Self {
        Self {
            inner: Some(Box::new(inner)),
            events,
            line: BytesMut::new(),
            quiet: Box::pin(sleep(QUIET)),
        }
    }

    pub(in crate::gateway) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        loop {
            let Some(inner) = &mut self.inner else {
                return Poll::Ready(None);
            };
            let told = match Pin::new(&mut **inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.take(&data),
                    Err(_) => continue,
                },
                Poll::Ready(Some(Err(error))) => self.finish(Some(error)),
                Poll::Ready(None) => self.finish(None),
                Poll::Pending => {
                    std::task::ready!(self.poll_quiet(cx));
                    sse::KEEP_ALIVE
                }
            };
            if !told.is_empty() {
                self.quiet.as_mut().reset(Instant::now() + QUIET);
                return Poll::Ready(Some(Ok(Frame::data(told))));
            }
        }
    }

    fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.events {
            return Poll::Pending;
        }
        self.quiet.as_mut().poll(cx)
    }

    fn take(&mut self, mut data: &[u8]) -> Bytes {
        let mut told = BytesMut::new();
        while let Some(at) = memchr(b'\n', data) {
            let (line, rest) = data.split_at(at);
            self.gather(line, &mut told);
            self.tell(false, &mut told);
            data = rest.get(1..).unwrap_or_default();
        }
        self.gather(data, &mut told);
        told.freeze()
    }

    fn gather(&mut self, mut data: &[u8], told: &mut BytesMut) {
        while self.line.len() + data.len() > MOST_LINE {
            let (fits, rest) = data.split_at(MOST_LINE - self.line.len());
            self.line.extend_from_slice(fits);
            self.tell(true, told);
            data = rest;
        }
        self.line.extend_from_slice(data);
    }

    fn tell(&mut self, partial: bool, told: &mut BytesMut) {
        let line = String::from_utf8_lossy(&self.line);
        let line = Line {
            line: &line,
            partial,
        };
        self.put(told, "log", &line);
        self.line.clear();
    }

    fn put(&self, told: &mut BytesMut, event: &str, value: &impl Serialize) {
        if self.events {
            told.extend_from_slice(&sse::event(event, None, value));
            return;
        }
        // Strings and flags always make JSON.
        told.extend_from_slice(&serde_json::to_vec(value).unwrap_or_default());
        told.extend_from_slice(b"\n");
    }

    fn finish(&mut self, error: Option<ExchangeError>) -> Bytes {
        self.inner = None;
        let mut told = BytesMut::new();
        if !self.line.is_empty() {
            self.tell(false, &mut told);
        }
        match (error.map(ExchangeError::into_api_error), self.events) {
            (Some(why), true) => told.extend_from_slice(&sse::failed(&why)),
            (Some(why), false) => {
                told.extend_from_slice(&error::body(&why, false));
                told.extend_from_slice(b"\n");
            }
            (None, true) => told.extend_from_slice(&sse::end("the log is over")),
            (None, false) => self.put(
                &mut told,
                "end",
                &json!({"end": {"reason": "the log is over"}}),
            ),
        }
        told.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;
    use proptest::prelude::*;

    fn lines(events: bool) -> Lines {
        Lines::new(ResponseBody::full(Full::default()), events)
    }

    fn in_runtime<T>(run: impl FnOnce() -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let _in = runtime.enter();
        run()
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_come(text in "[a-z\r\n]{0,200}", cuts in prop::collection::vec(0..20_usize, 0..30)) {
            let told = in_runtime(|| {
                let (mut lines, mut rest, mut told) = (lines(false), text.as_bytes(), Vec::new());
                for cut in cuts {
                    let (piece, after) = rest.split_at(cut.min(rest.len()));
                    told.extend_from_slice(&lines.take(piece));
                    rest = after;
                }
                told.extend_from_slice(&lines.take(rest));
                told.extend_from_slice(&lines.finish(None));
                String::from_utf8(told).unwrap()
            });
            let mut values: Vec<serde_json::Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            prop_assert!(values.pop().unwrap()["end"].is_object());
            let mut expected: Vec<&str> = text.split('\n').collect();
            if expected.last() == Some(&"") {
                expected.pop();
            }
            let got: Vec<&str> = values.iter().map(|value| value["line"].as_str().unwrap()).collect();
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_long_line_is_told_in_pieces_and_an_error_at_the_end() {
        let told = in_runtime(|| {
            let mut lines = lines(true);
            let mut told = lines.take(&vec![b'x'; MOST_LINE + 1]).to_vec();
            told.extend_from_slice(&lines.finish(Some(ExchangeError::Cut)));
            String::from_utf8(told).unwrap()
        });
        assert_eq!(told.matches("event: log").count(), 2);
        assert_eq!(told.matches("\"partial\":true").count(), 1);
        assert!(
            told.contains("event: error\ndata: {\"error\":{\"code\":"),
            "{told}"
        );
    }
}
