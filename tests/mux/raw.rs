//! A peer that writes and reads frames as bytes, and so can say what no engine would.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

pub const DATA: u8 = 0;
pub const WINDOW_UPDATE: u8 = 1;
pub const PING: u8 = 2;
pub const GO_AWAY: u8 = 3;

pub const SYN: u16 = 1;
pub const ACK: u16 = 2;
pub const FIN: u16 = 4;
pub const RST: u16 = 8;

/// The window that a stream begins with.
pub const WINDOW: u32 = 256 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u16,
    pub id: u32,
    pub length: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn is(&self, kind: u8, flag: u16) -> bool {
        self.kind == kind && self.flags & flag != 0
    }
}

pub fn header(kind: u8, flags: u16, id: u32, length: u32) -> Vec<u8> {
    let mut bytes = vec![0, kind];
    bytes.extend(flags.to_be_bytes());
    bytes.extend(id.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes
}

pub fn data(flags: u16, id: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(DATA, flags, id, payload.len() as u32);
    bytes.extend(payload);
    bytes
}

pub struct Peer {
    io: DuplexStream,
}

impl Peer {
    /// A peer, and the carrier of the session that it talks to.
    pub fn new() -> (Self, DuplexStream) {
        Self::over(1024 * 1024)
    }

    pub fn over(capacity: usize) -> (Self, DuplexStream) {
        let (io, carrier) = tokio::io::duplex(capacity);
        (Self { io }, carrier)
    }

    /// Writes; false when the session has closed its carrier.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.io.write_all(bytes.as_ref()).await.is_ok()
    }

    /// The next frame; `None` at the carrier's end.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 12];
        self.io.read_exact(&mut head).await.ok()?;
        assert_eq!(head[0], 0, "the version of what is sent");
        let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
        let kind = head[1];
        let length = number(8);
        let mut payload = vec![0; if kind == DATA { length as usize } else { 0 }];
        self.io.read_exact(&mut payload).await.ok()?;
        Some(Frame {
            kind,
            flags: u16::from_be_bytes([head[2], head[3]]),
            id: number(4),
            length,
            payload,
        })
    }

    /// Frames up to the first that `wanted` likes, or to the carrier's end.
    pub async fn read_until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            let found = wanted(&frame);
            frames.push(frame);
            if found {
                break;
            }
        }
        frames
    }

    /// All frames to the carrier's end.
    pub async fn rest(&mut self) -> Vec<Frame> {
        self.read_until(|_| false).await
    }

    /// Pings; what the session sent before its answer, or `None` when it ends instead.
    pub async fn sync(&mut self) -> Option<Vec<Frame>> {
        const MARK: u32 = 0x6d61_726b;
        self.write(header(PING, SYN, 0, MARK)).await;
        let mut frames = self
            .read_until(|frame| frame.is(PING, ACK) && frame.length == MARK)
            .await;
        let last = frames.pop()?;
        (last.is(PING, ACK) && last.length == MARK).then_some(frames)
    }

    /// Writes and reads apart, for floods and bulk.
    pub fn split(
        self,
    ) -> (
        tokio::io::ReadHalf<DuplexStream>,
        tokio::io::WriteHalf<DuplexStream>,
    ) {
        tokio::io::split(self.io)
    }
}
