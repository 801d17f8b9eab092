//! What stands behind the tunnel: a process of its own that answers what the scenarios ask.
//!
//! `GET /1k`, `GET /bulk[?bytes=N&seed=S]` (a [`Pattern`]), `GET /hold` (one byte, then silence),
//! `PUT /up[?seed=S]` (a sink; with a seed it checks every byte, and says so).

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::spawn_local;
use tokio::time::sleep;

use crate::load::pattern::{PIECE, Pattern};

/// A body without end, but for its length.
const ENDLESS: u64 = 1 << 40;

/// What the system takes of a response ahead of its reader. By itself it would take 4 MiB, and so a thousand
/// downloads all memory that it has for TCP (`net.ipv4.tcp_mem`), which slows every connection to a crawl.
const SEND_BUFFER: u32 = 64 * 1024;

/// Serves until it is killed.
///
/// # Errors
/// When the address is taken.
pub(crate) async fn serve(listen: SocketAddr) -> Result<()> {
    let listener = bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    let pattern = Rc::new(Pattern::new());
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(Duration::from_millis(50)).await; // out of descriptors
            continue;
        };
        let pattern = Rc::clone(&pattern);
        spawn_local(async move {
            // A client that goes away is no fault.
            drop(Connection::new(stream).serve(&pattern).await);
        });
    }
}

fn bind(listen: SocketAddr) -> Result<TcpListener> {
    let socket = if listen.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(listen)?;
    Ok(socket.listen(4096)?)
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A request's head, and how many bytes came behind it.
struct Asked {
    path: String,
    query: String,
    length: u64,
    /// It is the connection's last request.
    last: bool,
    early: Vec<u8>,
}

impl Asked {
    fn number(&self, name: &str) -> Option<u64> {
        let mut pairs = self
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name)?.1.parse().ok()
    }
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    async fn serve(mut self, pattern: &Pattern) -> Result<()> {
        self.stream.set_nodelay(true)?;
        while let Some(asked) = self.head().await? {
            let last = asked.last;
            match asked.path.as_str() {
                "/1k" => self.small(pattern).await?,
                "/bulk" => self.bulk(&asked, pattern).await?,
                "/hold" => self.hold().await?,
                "/up" => self.sink(asked, pattern).await?,
                _ => self.answer("404 Not Found", b"").await?,
            }
            if last {
                break;
            }
        }
        Ok(())
    }

    /// The next request's head; `None` at the end.
    async fn head(&mut self) -> Result<Option<Asked>> {
        loop {
            if let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") {
                let early = self.buffer.split_off(end + 4);
                let asked = parse(&self.buffer, early)?;
                self.buffer.clear();
                if asked.path != "/up" {
                    self.buffer.extend(&asked.early); // the next request
                }
                return Ok(Some(asked));
            }
            if self.buffer.len() > 64 * 1024 {
                bail!("the head is too long");
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn answer(&mut self, status: &str, body: &[u8]) -> Result<()> {
        let mut all = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        all.extend(body);
        Ok(self.stream.write_all(&all).await?)
    }

    async fn small(&mut self, pattern: &Pattern) -> Result<()> {
        let body = pattern.at(0, 0).get(..1024).unwrap_or_default();
        self.answer("200 OK", body).await
    }

    async fn bulk(&mut self, asked: &Asked, pattern: &Pattern) -> Result<()> {
        let length = asked.number("bytes").unwrap_or(ENDLESS);
        let seed = asked.number("seed").unwrap_or_default();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        self.stream.write_all(head.as_bytes()).await?;
        let mut sent = 0;
        while sent < length {
            let most = usize::try_from(length - sent).unwrap_or(PIECE).min(PIECE);
            let piece = pattern.at(seed, sent).get(..most).unwrap_or_default();
            sent += self.stream.write(piece).await? as u64;
        }
        Ok(())
    }

    async fn hold(&mut self) -> Result<()> {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {ENDLESS}\r\n\r\n.");
        self.stream.write_all(head.as_bytes()).await?;
        self.buffer = Vec::new();
        // Nobody sends anything here but the end.
        self.stream.read_exact(&mut [0; 1]).await?;
        bail!("bytes in a response that is held")
    }

    async fn sink(&mut self, asked: Asked, pattern: &Pattern) -> Result<()> {
        let seed = asked.number("seed");
        let holds =
            |offset, bytes: &[u8]| seed.is_none_or(|seed| pattern.holds(seed, offset, bytes));
        let mut got = asked.early.len() as u64;
        let mut sound = holds(0, &asked.early);
        let mut buffer = vec![0; PIECE];
        while got < asked.length {
            let read = self.stream.read(&mut buffer).await?;
            if read == 0 {
                bail!("the upload was cut");
            }
            sound &= holds(got, buffer.get(..read).unwrap_or_default());
            got += read as u64;
        }
        match sound {
            true => self.answer("200 OK", got.to_string().as_bytes()).await,
            false => {
                self.answer("422 Unprocessable Content", b"other bytes than were sent")
                    .await
            }
        }
    }
}

fn parse(head: &[u8], early: Vec<u8>) -> Result<Asked> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    request.parse(head)?;
    let target = request.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let field = |name: &str| {
        let mut fields = request.headers.iter();
        let field = fields.find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(field.value).ok()
    };
    let length = field("content-length").and_then(|value| value.parse().ok());
    let last = field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok(Asked {
        path: path.to_owned(),
        query: query.to_owned(),
        length: length.unwrap_or_default(),
        last,
        early,
    })
}
