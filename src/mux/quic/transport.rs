//! How a QUIC connection of the tunnel behaves.

use std::sync::Arc;

use quinn::{IdleTimeout, TransportConfig, VarInt};

use super::congestion::Adaptive;
use crate::wire::limits::{
    MAX_PEER_STREAMS, MAX_SESSION_WINDOW, QUIC_IDLE, QUIC_KEEP_ALIVE, QUIC_SEND_WINDOW,
    QUIC_STREAM_WINDOW,
};

/// Streams that the peer may have open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opens {
    /// One, for its ticket.
    Ticket,
    /// As many as exchanges need.
    Exchanges,
}

/// The transport of a carrier; what it may hold is bounded by [`crate::wire::limits`].
#[must_use]
pub fn transport(peer: Opens) -> Arc<TransportConfig> {
    let streams = match peer {
        Opens::Ticket => 1,
        Opens::Exchanges => MAX_PEER_STREAMS,
    };
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(varint(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(varint(QUIC_STREAM_WINDOW))
        .receive_window(varint(MAX_SESSION_WINDOW))
        .send_window(QUIC_SEND_WINDOW as u64)
        .keep_alive_interval(Some(QUIC_KEEP_ALIVE))
        .max_idle_timeout(IdleTimeout::try_from(QUIC_IDLE).ok())
        .congestion_controller_factory(Arc::new(Adaptive));
    Arc::new(config)
}

fn varint(value: usize) -> VarInt {
    VarInt::from_u64(value as u64).unwrap_or(VarInt::MAX)
}
