//! What one write to the carrier holds: many frames, their payload where it is.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;

use bytes::{Buf, Bytes};

use super::header::HEADER;

/// Bytes of a batch: four TLS records exactly. A few bytes more would be a record, and often a
/// segment, of their own.
pub(super) const BATCH: usize = 64 * 1024;

/// Payload below this is copied between the headers: a slice of its own costs more.
const COPY_BELOW: usize = 1024;

/// Copied bytes that there is room for while nothing is sent.
const KEEP: usize = 1024;

/// Slices of one write.
pub(super) const SLICES: usize = 2 * BATCH / COPY_BELOW;

/// Frames on their way to the carrier.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Headers and small payload.
    copied: Vec<u8>,
    parts: VecDeque<Part>,
    length: usize,
}

#[derive(Debug)]
enum Part {
    /// In `copied`.
    Copied(Range<usize>),
    Payload(Bytes),
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes that are to be written.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Bytes that still fit; none when the slices are used up.
    pub(super) fn room(&self) -> usize {
        if self.parts.len() + 2 > SLICES {
            return 0;
        }
        BATCH - self.length
    }

    pub(super) fn push_header(&mut self, header: [u8; HEADER]) {
        self.copy(&header);
    }

    pub(super) fn push(&mut self, payload: Bytes) {
        if payload.len() < COPY_BELOW {
            self.copy(&payload);
        } else {
            self.length += payload.len();
            self.parts.push_back(Part::Payload(payload));
        }
    }

    fn copy(&mut self, bytes: &[u8]) {
        let start = self.copied.len();
        self.copied.extend_from_slice(bytes);
        self.length += bytes.len();
        match self.parts.back_mut() {
            Some(Part::Copied(range)) => range.end += bytes.len(),
            _ => self
                .parts
                .push_back(Part::Copied(start..start + bytes.len())),
        }
    }

    /// Points `slices` at the bytes; says how many it took.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let mut count = 0;
        for (slice, part) in slices.iter_mut().zip(&self.parts) {
            *slice = IoSlice::new(match part {
                Part::Copied(range) => &self.copied[range.clone()],
                Part::Payload(payload) => payload,
            });
            count += 1;
        }
        count
    }

    /// Forgets bytes that were written.
    pub(super) fn advance(&mut self, mut written: usize) {
        self.length -= written;
        while let Some(part) = self.parts.front_mut() {
            let left = match part {
                Part::Copied(range) => range.len(),
                Part::Payload(payload) => payload.len(),
            };
            if written < left {
                match part {
                    Part::Copied(range) => range.start += written,
                    Part::Payload(payload) => payload.advance(written),
                }
                return;
            }
            written -= left;
            self.parts.pop_front();
        }
        self.copied.clear();
    }

    /// Lets go of the memory of a session that has nothing to send.
    pub(super) fn relax(&mut self) {
        if self.is_empty() && self.copied.capacity() > KEEP {
            *self = Self::default();
        }
    }
}
