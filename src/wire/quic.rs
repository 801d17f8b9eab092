//! How a QUIC carrier begins; `proto/README.md` says it in words.
//!
//! The agent's first connection id is made from its ticket, so that the gateway knows from the
//! first packet which worker the carrier is for, and does nothing for a peer without a ticket. It
//! proves nothing: the ticket itself follows on the agent's first stream, once both have keys.

use sha2::{Digest, Sha256};

/// The protocol's name in ALPN (RFC 7301).
pub const ALPN: &[u8] = b"pipeops-mux";

/// Bytes of the connection id that a ticket makes.
pub const TICKET_ID: usize = 16;

/// What the gateway answers to a ticket that is good.
pub const ACCEPTED: u8 = 1;

/// The code by which the gateway closes a connection whose ticket is not.
pub const REFUSED: u32 = 1;

/// The first destination connection id of the carrier that this ticket opens.
#[must_use]
pub fn ticket_id(ticket: &str) -> [u8; TICKET_ID] {
    let hash = Sha256::digest(ticket);
    let mut id = [0; TICKET_ID];
    id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_beginning_of_the_tickets_hash() {
        let id = data_encoding::HEXLOWER.encode(&ticket_id("abc"));
        assert_eq!(id, "ba7816bf8f01cfea414140de5dae2223");
    }
}
