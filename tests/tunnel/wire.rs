//! HTTP/1 by hand, for clients and targets alike: what is sent is exactly what
//! the test says, and what came is looked at byte by byte.

use std::{
    fmt::Debug,
    future::Future,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// Long enough for any machine; a test that waits this long has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for what must come.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("waited {DEADLINE:?} in vain for {what}"))
}

/// A request's or response's head.
#[derive(Debug, Clone)]
pub struct Head {
    /// The request line or status line.
    pub first: String,
    pub fields: Vec<(String, String)>,
    /// All of it, as it came.
    pub raw: Vec<u8>,
}

impl Head {
    fn parse(raw: Vec<u8>) -> Self {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let fields = lines.map(|line| {
            let (name, value) = line
                .split_once(':')
                .unwrap_or_else(|| panic!("no header line: {line:?}"));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        let fields = fields.collect();
        Self { first, fields, raw }
    }

    /// The status of a response.
    pub fn status(&self) -> u16 {
        let code = self.first.split(' ').nth(1).unwrap_or_default();
        code.parse()
            .unwrap_or_else(|_| panic!("no status line: {:?}", self.first))
    }

    /// The target of a request.
    pub fn target(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = self.fields.iter().filter(|(n, _)| n == name);
        same.map(|(_, value)| value.as_str()).collect()
    }

    /// The only value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} comes {} times: {all:?}", all.len());
        all.first().copied()
    }

    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    fn chunked(&self) -> bool {
        self.get("transfer-encoding")
            .is_some_and(|v| v.eq_ignore_ascii_case("chunked"))
    }

    fn length(&self) -> Option<usize> {
        self.get("content-length").map(|v| v.parse().unwrap())
    }
}

/// A message's body, as far as it came.
#[derive(Debug, Clone, Default)]
pub struct Body {
    pub bytes: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// Whether its own framing says that this is all.
    pub complete: bool,
}

/// A response with its body.
#[derive(Debug, Clone)]
pub struct Answer {
    pub head: Head,
    pub body: Body,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body.bytes).into_owned()
    }

    /// The `code` of the tunnel's own errors.
    pub fn code(&self) -> String {
        self.error()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The `message` of the tunnel's own errors.
    pub fn message(&self) -> String {
        self.error()["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    fn error(&self) -> serde_json::Value {
        let json: serde_json::Value = serde_json::from_slice(&self.body.bytes)
            .unwrap_or_else(|e| panic!("{e}: {} {:?}", self.head.first, self.text()));
        json["error"].clone()
    }
}

/// One end of a connection.
#[derive(Debug)]
pub struct Wire<S> {
    pub io: S,
    read: Vec<u8>,
    tap: Option<Arc<Mutex<Vec<u8>>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Debug> Wire<S> {
    pub fn new(io: S) -> Self {
        Self {
            io,
            read: Vec::new(),
            tap: None,
        }
    }

    /// Has every byte that is read noted there too.
    pub fn tapped(mut self, tap: Arc<Mutex<Vec<u8>>>) -> Self {
        self.tap = Some(tap);
        self
    }

    /// What was read and not yet looked at, and the connection.
    pub fn into_parts(self) -> (Vec<u8>, S) {
        (self.read, self.io)
    }

    /// Writes; the peer must take it.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the peer takes bytes");
    }

    /// Writes, which may fail.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        within("the peer to take bytes", async {
            self.io.write_all(bytes.as_ref()).await?;
            self.io.flush().await
        })
        .await
    }

    /// Sends one chunk of a chunked body.
    pub async fn send_chunk(&mut self, bytes: impl AsRef<[u8]>) {
        self.send(chunk(bytes.as_ref())).await;
    }

    /// Reads more; false at the end.
    async fn more(&mut self) -> io::Result<bool> {
        let mut buffer = vec![0; 64 * 1024];
        let n = within("bytes of the peer", self.io.read(&mut buffer)).await?;
        if let Some(tap) = &self.tap {
            tap.lock().unwrap().extend_from_slice(&buffer[..n]);
        }
        self.read.extend_from_slice(&buffer[..n]);
        Ok(n > 0)
    }

    /// The next head; `None` if the connection ends in good order before it.
    pub async fn try_head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                let raw = self.read.drain(..end + 4).collect();
                return Ok(Some(Head::parse(raw)));
            }
            if !self.more().await? {
                if self.read.is_empty() {
                    return Ok(None);
                }
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    pub async fn head(&mut self) -> Head {
        match self.try_head().await {
            Ok(Some(head)) => head,
            other => panic!("no head but {other:?}"),
        }
    }

    /// Bytes up to the next CRLF, without it.
    async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = find(&self.read, b"\r\n") {
                let mut line: Vec<u8> = self.read.drain(..end + 2).collect();
                line.truncate(end);
                return Ok(Some(line));
            }
            if !self.more().await? {
                return Ok(None);
            }
        }
    }

    /// Up to `n` bytes; fewer only at the end.
    async fn up_to(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.read.len() < n && self.more().await? {}
        let n = n.min(self.read.len());
        Ok(self.read.drain(..n).collect())
    }

    /// Exactly `n` bytes.
    pub async fn exactly(&mut self, n: usize) -> Vec<u8> {
        let bytes = self.up_to(n).await.unwrap();
        assert_eq!(bytes.len(), n, "the connection ended early: {bytes:?}");
        bytes
    }

    /// The next chunk of a chunked body; `None` for the last, after which
    /// trailers follow.
    pub async fn try_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let eof = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let size = self.line().await?.ok_or_else(eof)?;
        let size = String::from_utf8_lossy(&size).into_owned();
        let digits = size.split(';').next().unwrap().trim();
        let size =
            usize::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("no chunk size: {size:?}"));
        if size == 0 {
            return Ok(None);
        }
        let mut data = self.up_to(size + 2).await?;
        if data.len() < size + 2 {
            return Err(eof());
        }
        assert!(
            data.ends_with(b"\r\n"),
            "a chunk ends with {:?}",
            &data[size..]
        );
        data.truncate(size);
        Ok(Some(data))
    }

    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        self.try_chunk().await.expect("a chunk")
    }

    async fn trailers(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut trailers = Vec::new();
        loop {
            let Some(line) = self.line().await? else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            if line.is_empty() {
                return Ok(trailers);
            }
            let line = String::from_utf8_lossy(&line).into_owned();
            let (name, value) = line.split_once(':').expect("a trailer line");
            trailers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    async fn chunked(&mut self) -> Body {
        let mut body = Body::default();
        while let Ok(next) = self.try_chunk().await {
            if let Some(chunk) = next {
                body.bytes.extend_from_slice(&chunk);
            } else {
                let trailers = self.trailers().await;
                body.complete = trailers.is_ok();
                body.trailers = trailers.unwrap_or_default();
                break;
            }
        }
        body
    }

    async fn sized(&mut self, length: usize) -> Body {
        let bytes = match self.up_to(length).await {
            Ok(bytes) => bytes,
            Err(_) => std::mem::take(&mut self.read), // reset: what came before it
        };
        Body {
            complete: bytes.len() == length,
            bytes,
            ..Body::default()
        }
    }

    /// Everything to the end; complete only if that came in good order.
    pub async fn rest(&mut self) -> Body {
        let complete = loop {
            match self.more().await {
                Ok(true) => {}
                Ok(false) => break true,
                Err(_) => break false,
            }
        };
        Body {
            bytes: std::mem::take(&mut self.read),
            complete,
            ..Body::default()
        }
    }

    /// The body of a request with this head.
    pub async fn request_body(&mut self, head: &Head) -> Body {
        if head.chunked() {
            self.chunked().await
        } else {
            self.sized(head.length().unwrap_or(0)).await
        }
    }

    /// The body of a response with this head to a request with this method.
    pub async fn response_body(&mut self, head: &Head, method: &str) -> Body {
        let none = method == "HEAD" || matches!(head.status(), 100..=199 | 204 | 304);
        if none {
            self.sized(0).await
        } else if head.chunked() {
            self.chunked().await
        } else if let Some(length) = head.length() {
            self.sized(length).await
        } else {
            self.rest().await
        }
    }

    /// The final response to a request with this method; interim ones are passed over.
    pub async fn answer(&mut self, method: &str) -> Answer {
        loop {
            let head = self.head().await;
            if head.status() >= 200 || head.status() == 101 {
                let body = self.response_body(&head, method).await;
                return Answer { head, body };
            }
        }
    }

    /// Sends a request and answers its response.
    pub async fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        let request = request.as_ref();
        self.send(request).await;
        let method = request.split(|b| *b == b' ').next().unwrap();
        self.answer(std::str::from_utf8(method).unwrap()).await
    }

    /// Waits until the peer has closed or reset the connection; answers what came before.
    pub async fn closed(&mut self) -> Vec<u8> {
        self.rest().await.bytes
    }
}

/// One chunk of a chunked body.
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    let size = format!("{:x}\r\n", bytes.len());
    [size.as_bytes(), bytes, b"\r\n"].concat()
}

/// A whole response.
pub fn response(status: &str, fields: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!(
        "HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
