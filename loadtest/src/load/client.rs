//! The least of an HTTP/1.1 client: whole answers of known length, and heads of long ones.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::endpoint::{Connection, Endpoint};

/// An answer that takes longer counts as an error.
const ANSWER: Duration = Duration::from_secs(30);

/// Room for a head and the first bytes of a body.
const BUFFER: usize = 16 * 1024;

/// A connection on which one request follows another.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) connection: Connection,
    buffer: Vec<u8>,
    filled: usize,
}

/// A response's head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes of the body.
    pub(crate) length: u64,
    /// Those that came with the head, in the client's buffer.
    early: Range<usize>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// As [`Endpoint::connect`].
    pub(crate) async fn connect(endpoint: &Endpoint) -> Result<Self> {
        Ok(Self {
            connection: endpoint.connect().await?,
            buffer: vec![0; BUFFER],
            filled: 0,
        })
    }

    /// Sends a request, and reads the whole answer, which must be 200.
    ///
    /// # Errors
    /// When it is anything else, is cut, or takes too long.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<()> {
        let whole = async {
            let head = self.begin(request).await?;
            let mut left = head.length - head.early.len() as u64;
            while left > 0 {
                let read = self.connection.read(&mut self.buffer).await?;
                if read == 0 {
                    bail!("the answer was cut, {left} bytes before its end");
                }
                left = left
                    .checked_sub(read as u64)
                    .context("bytes behind the answer")?;
            }
            self.filled = 0;
            Ok(())
        };
        timeout(ANSWER, whole).await.context("no answer in time")?
    }

    /// Sends a request, and reads the head of the answer, which must be 200.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub(crate) async fn begin(&mut self, request: &[u8]) -> Result<Head> {
        self.connection.write_all(request).await?;
        self.connection.flush().await?;
        self.head().await
    }

    /// The connection alone: a buffer beside each of ten thousand would be for nothing.
    pub(crate) fn into_connection(self) -> Connection {
        self.connection
    }

    /// The bytes of the body that came with its head.
    pub(crate) fn early(&self, head: &Head) -> &[u8] {
        self.buffer.get(head.early.clone()).unwrap_or_default()
    }

    /// Reads a head.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub(crate) async fn head(&mut self) -> Result<Head> {
        self.filled = 0;
        loop {
            let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
            let read = self.connection.read(room).await?;
            if read == 0 {
                bail!("closed without an answer");
            }
            self.filled += read;
            let got = self.buffer.get(..self.filled).unwrap_or_default();
            if let Some(end) = memmem::find(got, b"\r\n\r\n") {
                return parse(got, end + 4);
            }
            if self.filled == self.buffer.len() {
                bail!("the answer's head is too long");
            }
        }
    }
}

/// Reads the head, `end` bytes of what was got.
fn parse(got: &[u8], end: usize) -> Result<Head> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    response.parse(got)?;
    let status = response.code.unwrap_or_default();
    if status != 200 {
        let said = String::from_utf8_lossy(got.get(end..).unwrap_or_default());
        let said: String = said.chars().take(160).collect();
        bail!("answer {status}: {said}");
    }
    let length = response
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length = length.context("the answer has no Content-Length")?;
    let length = std::str::from_utf8(length.value)?.parse()?;
    let early = end..got.len();
    if early.len() as u64 > length {
        bail!("bytes behind the answer");
    }
    Ok(Head { length, early })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_a_length_and_maybe_early_bytes() {
        let got = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 10\r\n\r\nabc";
        let end = got.len() - 3;
        assert_eq!(
            parse(got, end).unwrap(),
            Head {
                length: 10,
                early: end..end + 3
            }
        );
    }

    #[test]
    fn what_is_no_whole_200_is_an_error_that_says_what_came() {
        let error = |got: &str| {
            let end = got.find("\r\n\r\n").unwrap() + 4;
            parse(got.as_bytes(), end).unwrap_err().to_string()
        };
        let refused = error("HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy");
        assert_eq!(refused, "answer 503: busy");
        assert!(error("HTTP/1.1 200 OK\r\n\r\n").contains("Content-Length"));
        assert!(error("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab").contains("behind"));
    }
}
