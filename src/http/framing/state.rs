//! The places that a [`Scanner`](super::Scanner) can be in, and what it remembers of a head.

/// Longest part of a name or value that is kept; `transfer-encoding` has 17 bytes and the largest
/// `Content-Length` 20 digits, so whatever is longer is none that matters or is invalid.
const KEPT: usize = 32;

/// Where in a connection's bytes the next one stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Before a request line, where empty lines are skipped (RFC 9112 section 2.2).
    Blank,
    /// After the CR of such an empty line.
    BlankLf,
    Method,
    Target,
    Version,
    RequestLf,
    FieldStart,
    Name,
    Value,
    ValueLf,
    /// After the CR of the empty line that ends the head.
    HeadLf,
    /// Inside a body with so many bytes left, never 0.
    Fixed(u64),
    ChunkStart,
    ChunkSize(u64),
    /// Whitespace after the size; nothing but an extension may follow.
    ChunkSpace(u64),
    ChunkExtension(u64),
    ChunkSizeLf(u64),
    /// Inside a chunk with so many bytes left, never 0.
    ChunkData(u64),
    ChunkDataCr,
    ChunkDataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    /// After the CR of the empty line that ends the trailers.
    BodyLf,
    /// The bytes are no longer ours to read: another protocol may begin.
    Open,
}

/// The first bytes of a name or value, and whether there were more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Prefix {
    bytes: [u8; KEPT],
    len: usize,
    overflown: bool,
}

impl Prefix {
    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.overflown = false;
    }

    pub(super) fn push(&mut self, more: &[u8]) {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        let taken = room.len().min(more.len());
        for (to, from) in room.iter_mut().zip(more) {
            *to = *from;
        }
        self.len += taken;
        self.overflown |= taken < more.len();
    }

    /// All of it, or `None` when there was more than is kept.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        if self.overflown {
            return None;
        }
        self.bytes.get(..self.len)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn is(&self, word: &str) -> bool {
        self.whole()
            .is_some_and(|kept| kept.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// The whole value without the whitespace around it.
    pub(super) fn trimmed(&self) -> Option<&[u8]> {
        self.whole().map(<[u8]>::trim_ascii)
    }
}

/// What matters of the head that is being read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    pub(super) http_1_0: bool,
    /// The method is `CONNECT` or there is an `Upgrade` header.
    pub(super) switches: bool,
    pub(super) host: bool,
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
}

/// Bytes of a token, RFC 9110 section 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    TOKEN.get(usize::from(byte)).is_some_and(|&token| token)
}

/// A table, since every byte of every header name is looked up.
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

/// A number of decimal digits only; no sign, no list.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}
