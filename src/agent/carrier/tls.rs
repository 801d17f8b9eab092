//! A carrier over TLS: mux bytes directly, after `Upgrade: pipeops-mux`.

use http::header;

use super::upgrade::{Switched, request, switch};
use crate::agent::dial::{DialError, Dialer};
use crate::wire::carrier::MUX_PROTOCOL;

/// Opens a carrier by its ticket; `answered` is told the status that the gateway answers with.
///
/// # Errors
/// [`DialError`]; the ticket may be used up.
pub(super) async fn dial(
    dialer: &Dialer,
    ticket: &str,
    answered: impl FnOnce(u16),
) -> Result<Switched, DialError> {
    let request = request(dialer, ticket, MUX_PROTOCOL);
    switch(dialer, request, answered, |response| {
        let protocol = response.headers().get(header::UPGRADE);
        match protocol {
            Some(protocol) if protocol == MUX_PROTOCOL => Ok(()),
            _ => Err("what answers switches to another protocol than pipeops-mux"),
        }
    })
    .await
}
