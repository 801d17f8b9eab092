//! Queues of byte chunks that share one store, so that an empty queue costs twelve bytes.

use bytes::Bytes;

/// No node.
const NONE: u32 = u32::MAX;

/// Free nodes up to this number are kept when everything is empty.
const KEEP: usize = 64;

/// One queue; its chunks are in a [`Pool`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Fifo {
    head: u32,
    tail: u32,
    bytes: u32,
}

impl Default for Fifo {
    fn default() -> Self {
        Self {
            head: NONE,
            tail: NONE,
            bytes: 0,
        }
    }
}

impl Fifo {
    /// Bytes in the queue.
    pub(super) fn bytes(&self) -> u32 {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head == NONE
    }
}

/// The chunks of all queues of a session.
#[derive(Debug, Default)]
pub(super) struct Pool {
    nodes: Vec<Node>,
    free: u32,
    used: usize,
}

#[derive(Debug)]
struct Node {
    bytes: Bytes,
    next: u32,
}

impl Pool {
    pub(super) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            free: NONE,
            used: 0,
        }
    }

    /// Adds a chunk that is not empty.
    pub(super) fn push(&mut self, fifo: &mut Fifo, bytes: Bytes) {
        fifo.bytes += len32(&bytes);
        let index = self.node(bytes);
        match fifo.tail {
            NONE => fifo.head = index,
            tail => self.nodes[tail as usize].next = index,
        }
        fifo.tail = index;
    }

    /// Takes the first chunk, or its first `limit` bytes.
    pub(super) fn pop(&mut self, fifo: &mut Fifo, limit: usize) -> Option<Bytes> {
        if fifo.head == NONE || limit == 0 {
            return None;
        }
        let node = &mut self.nodes[fifo.head as usize];
        if node.bytes.len() > limit {
            let part = node.bytes.split_to(limit);
            fifo.bytes -= len32(&part);
            return Some(part);
        }
        let bytes = std::mem::take(&mut node.bytes);
        let index = std::mem::replace(&mut fifo.head, node.next);
        if fifo.head == NONE {
            fifo.tail = NONE;
        }
        fifo.bytes -= len32(&bytes);
        self.give_back(index);
        Some(bytes)
    }

    /// Empties a queue; says how many bytes it held.
    pub(super) fn clear(&mut self, fifo: &mut Fifo) -> u32 {
        let held = fifo.bytes;
        while self.pop(fifo, usize::MAX).is_some() {}
        held
    }

    fn node(&mut self, bytes: Bytes) -> u32 {
        self.used += 1;
        let node = Node { bytes, next: NONE };
        if self.free == NONE {
            self.nodes.push(node);
            return u32::try_from(self.nodes.len() - 1).unwrap_or(NONE);
        }
        let index = self.free;
        let slot = &mut self.nodes[index as usize];
        self.free = slot.next;
        *slot = node;
        index
    }

    fn give_back(&mut self, index: u32) {
        self.used -= 1;
        if self.used == 0 && self.nodes.capacity() > KEEP {
            *self = Self::new();
            return;
        }
        self.nodes[index as usize].next = self.free;
        self.free = index;
    }
}

/// Chunks come from frames and grants, both far below 4 GiB.
fn len32(bytes: &Bytes) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
