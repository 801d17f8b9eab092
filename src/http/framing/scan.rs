//! The scanner: bytes in, number of clean heads out, no I/O and no allocation.

use memchr::{memchr, memchr2};

use super::Violation;
use super::state::{Head, Prefix, State, decimal, is_token};

/// Follows the framing of the requests on one HTTP/1 connection.
///
/// Takes the bytes in any slices. It accepts a strict subset of what hyper accepts, and reads that
/// subset as hyper does; whatever is outside is a [`Violation`], after which it stops for good.
/// It also stops after a head with `Upgrade` or `CONNECT`. Keeps under 200 bytes of state.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    head: Head,
    name: Prefix,
    value: Prefix,
    clean: u32,
    sound: usize,
    violation: Option<Violation>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            state: State::Blank,
            head: Head::default(),
            name: Prefix::default(),
            value: Prefix::default(),
            clean: 0,
            sound: 0,
            violation: None,
        }
    }
}

impl Scanner {
    /// A scanner at the start of a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next bytes of the connection; returns how many clean heads they completed.
    pub fn feed(&mut self, mut bytes: &[u8]) -> u32 {
        self.clean = 0;
        self.sound = 0;
        while !bytes.is_empty() && self.violation.is_none() && self.state != State::Open {
            let used = self.step(bytes);
            bytes = bytes.get(used..).unwrap_or_default();
            if self.violation.is_none() {
                self.sound += used;
            }
        }
        self.clean
    }

    /// How many of the bytes of the last [`Scanner::feed`] came before a violation in them.
    pub fn sound(&self) -> usize {
        self.sound
    }

    /// What was wrong, once something was. It belongs to the first head that was not clean, or to
    /// the body of the last clean one.
    pub fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// Whether a request asked to switch protocols, so that nothing is scanned any more.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Takes bytes from the front of a slice that is not empty, or moves to a state that does;
    /// returns how many.
    fn step(&mut self, bytes: &[u8]) -> usize {
        let first = bytes.first().copied().unwrap_or_default();
        match self.state {
            State::Blank => return self.blank(first),
            State::Method => return self.method(bytes),
            State::Target => return self.target(bytes),
            State::Version => return self.version(bytes),
            State::FieldStart => return self.field_start(first),
            State::Name => return self.name(bytes),
            State::Value => return self.value(bytes),
            State::Fixed(left) => return self.skip(bytes, left, State::Fixed, State::Blank),
            State::ChunkData(left) => {
                return self.skip(bytes, left, State::ChunkData, State::ChunkDataCr);
            }
            State::ChunkExtension(size) => return self.chunk_extension(bytes, size),
            State::Trailer => return self.trailer(bytes),
            State::BlankLf => self.expect_lf(first, State::Blank),
            State::RequestLf => self.expect_lf(first, State::FieldStart),
            State::ValueLf => self.end_field(first),
            State::HeadLf => self.end_head(first),
            State::ChunkStart => self.chunk_start(first),
            State::ChunkSize(size) => self.chunk_size(first, size),
            State::ChunkSpace(size) => self.chunk_space(first, size),
            State::ChunkSizeLf(0) => self.expect_chunk(first, b'\n', State::TrailerStart),
            State::ChunkSizeLf(size) => self.expect_chunk(first, b'\n', State::ChunkData(size)),
            State::ChunkDataCr => self.expect_chunk(first, b'\r', State::ChunkDataLf),
            State::ChunkDataLf => self.expect_chunk(first, b'\n', State::ChunkStart),
            State::TrailerStart => self.trailer_start(first),
            State::TrailerLf => self.expect_chunk(first, b'\n', State::TrailerStart),
            State::BodyLf => self.expect_chunk(first, b'\n', State::Blank),
            State::Open => return bytes.len(),
        }
        1
    }

    fn fail(&mut self, violation: Violation) {
        self.violation = Some(violation);
    }

    /// Moves on after a byte that has to be LF.
    fn expect_lf(&mut self, byte: u8, next: State) {
        if byte == b'\n' {
            self.state = next;
        } else {
            self.fail(Violation::BareCr);
        }
    }

    fn expect_chunk(&mut self, byte: u8, wanted: u8, next: State) {
        if byte == wanted {
            self.state = next;
        } else {
            self.fail(Violation::Chunked);
        }
    }

    fn skip(&mut self, bytes: &[u8], left: u64, same: fn(u64) -> State, next: State) -> usize {
        let used = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let left = left - used as u64;
        self.state = if left == 0 { next } else { same(left) };
        used
    }

    /// Takes a byte of an empty line, or none when a method begins.
    fn blank(&mut self, byte: u8) -> usize {
        match byte {
            b'\r' => self.state = State::BlankLf,
            b'\n' => self.fail(Violation::BareLf),
            _ => {
                self.head = Head::default();
                self.name.clear();
                self.value.clear();
                self.state = State::Method;
                return 0;
            }
        }
        1
    }

    fn method(&mut self, bytes: &[u8]) -> usize {
        let (word, end) = split(bytes, |byte| !is_token(byte));
        self.name.push(word);
        match end {
            None => {}
            Some(b' ') if !self.name.is_empty() => {
                self.head.switches = self.name.is("CONNECT");
                self.name.clear();
                self.state = State::Target;
            }
            Some(0) => self.fail(Violation::Nul),
            Some(_) => self.fail(Violation::RequestLine),
        }
        taken(word, end)
    }

    fn target(&mut self, bytes: &[u8]) -> usize {
        let (word, end) = split(bytes, |byte| !byte.is_ascii_graphic() || byte == b'#');
        self.name.push(word);
        match end {
            None => {}
            Some(b' ') if !self.name.is_empty() => self.state = State::Version,
            Some(b' ') => self.fail(Violation::RequestLine),
            Some(0) => self.fail(Violation::Nul),
            Some(_) => self.fail(Violation::Target),
        }
        taken(word, end)
    }

    fn version(&mut self, bytes: &[u8]) -> usize {
        let (word, end) = split(bytes, |byte| !byte.is_ascii_graphic());
        self.value.push(word);
        match (end, self.value.whole()) {
            (None, _) => {}
            (Some(b'\r'), Some(version @ (b"HTTP/1.1" | b"HTTP/1.0"))) => {
                self.head.http_1_0 = version == b"HTTP/1.0";
                self.state = State::RequestLf;
            }
            (Some(b'\n'), _) => self.fail(Violation::BareLf),
            (Some(0), _) => self.fail(Violation::Nul),
            // A space in the target looks like this.
            (Some(_), _) => self.fail(Violation::RequestLine),
        }
        taken(word, end)
    }

    /// Takes the CR of the empty line, or none when a header begins.
    fn field_start(&mut self, byte: u8) -> usize {
        match byte {
            b'\r' => self.state = State::HeadLf,
            b'\n' => self.fail(Violation::BareLf),
            b' ' | b'\t' => self.fail(Violation::ObsFold),
            _ => {
                self.name.clear();
                self.value.clear();
                self.state = State::Name;
                return 0;
            }
        }
        1
    }

    fn name(&mut self, bytes: &[u8]) -> usize {
        let (word, end) = split(bytes, |byte| !is_token(byte));
        self.name.push(word);
        match end {
            None => {}
            Some(b':') if !self.name.is_empty() => self.state = State::Value,
            Some(b' ' | b'\t') => self.fail(Violation::WhitespaceBeforeColon),
            Some(0) => self.fail(Violation::Nul),
            Some(_) => self.fail(Violation::HeaderName),
        }
        taken(word, end)
    }

    fn value(&mut self, bytes: &[u8]) -> usize {
        let (part, end) = line(bytes);
        self.value.push(part);
        if has_control(part) {
            let nul = memchr(0, part).is_some();
            self.fail(if nul {
                Violation::Nul
            } else {
                Violation::HeaderValue
            });
        } else if end == Some(b'\n') {
            self.fail(Violation::BareLf);
        } else if end.is_some() {
            self.state = State::ValueLf;
        }
        taken(part, end)
    }

    fn end_field(&mut self, byte: u8) {
        self.expect_lf(byte, State::FieldStart);
        if self.violation.is_none() {
            self.violation = self.note_field().err();
        }
    }

    /// Remembers what the header that just ended says about framing.
    fn note_field(&mut self) -> Result<(), Violation> {
        if self.name.is("content-length") {
            let length = self.value.trimmed().and_then(decimal);
            let length = length.ok_or(Violation::ContentLength)?;
            if self
                .head
                .length
                .replace(length)
                .is_some_and(|old| old != length)
            {
                return Err(Violation::ContentLength);
            }
        } else if self.name.is("transfer-encoding") {
            let value = self.value.trimmed();
            let chunked = value.is_some_and(|value| value.eq_ignore_ascii_case(b"chunked"));
            if !chunked || self.head.chunked {
                return Err(Violation::TransferEncoding);
            }
            self.head.chunked = true;
        } else if self.name.is("host") {
            if self.head.host {
                return Err(Violation::DuplicateHost);
            }
            self.head.host = true;
        } else if self.name.is("upgrade") {
            self.head.switches = true;
        }
        Ok(())
    }

    fn end_head(&mut self, byte: u8) {
        self.expect_lf(byte, State::Blank);
        if self.violation.is_some() {
            return;
        }
        let head = self.head;
        match (head.chunked, head.length) {
            (true, Some(_)) => return self.fail(Violation::BothLengths),
            (true, None) if head.http_1_0 => return self.fail(Violation::TransferEncodingIn10),
            _ if !head.host && !head.http_1_0 => return self.fail(Violation::MissingHost),
            _ if head.switches => self.state = State::Open,
            (true, None) => self.state = State::ChunkStart,
            (false, None | Some(0)) => {}
            (false, Some(length)) => self.state = State::Fixed(length),
        }
        self.clean += 1;
    }

    fn chunk_start(&mut self, byte: u8) {
        match hex(byte) {
            Some(digit) => self.state = State::ChunkSize(digit),
            None => self.fail(Violation::Chunked),
        }
    }

    fn chunk_size(&mut self, byte: u8, size: u64) {
        let Some(digit) = hex(byte) else {
            return self.chunk_space(byte, size);
        };
        match size.checked_mul(16) {
            Some(high) => self.state = State::ChunkSize(high | digit),
            None => self.fail(Violation::Chunked),
        }
    }

    fn chunk_space(&mut self, byte: u8, size: u64) {
        match byte {
            b' ' | b'\t' => self.state = State::ChunkSpace(size),
            b';' => self.state = State::ChunkExtension(size),
            b'\r' => self.state = State::ChunkSizeLf(size),
            _ => self.fail(Violation::Chunked),
        }
    }

    fn chunk_extension(&mut self, bytes: &[u8], size: u64) -> usize {
        let (part, end) = line(bytes);
        match end {
            None => {}
            Some(b'\r') => self.state = State::ChunkSizeLf(size),
            Some(_) => self.fail(Violation::Chunked),
        }
        taken(part, end)
    }

    fn trailer_start(&mut self, byte: u8) {
        match byte {
            b'\r' => self.state = State::BodyLf,
            b'\n' | b' ' | b'\t' => self.fail(Violation::Chunked),
            _ => self.state = State::Trailer,
        }
    }

    fn trailer(&mut self, bytes: &[u8]) -> usize {
        let (part, end) = line(bytes);
        match end {
            None => {}
            Some(b'\r') => self.state = State::TrailerLf,
            Some(_) => self.fail(Violation::Chunked),
        }
        taken(part, end)
    }
}

/// The bytes before the first that `stops`, and that one if there is one.
fn split(bytes: &[u8], stops: impl Fn(u8) -> bool) -> (&[u8], Option<u8>) {
    let at = bytes.iter().position(|&byte| stops(byte));
    cut(bytes, at)
}

/// The bytes before the first CR or LF, and that one if there is one.
fn line(bytes: &[u8]) -> (&[u8], Option<u8>) {
    cut(bytes, memchr2(b'\r', b'\n', bytes))
}

fn cut(bytes: &[u8], at: Option<usize>) -> (&[u8], Option<u8>) {
    match at.and_then(|at| bytes.split_at_checked(at)) {
        Some((before, rest)) => (before, rest.first().copied()),
        None => (bytes, None),
    }
}

fn taken(part: &[u8], end: Option<u8>) -> usize {
    part.len() + usize::from(end.is_some())
}

fn hex(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

/// Without an early exit, so that it is compiled to vector instructions.
fn has_control(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |found, &byte| {
        found | ((byte < b' ') & (byte != b'\t')) | (byte == 0x7f)
    })
}
