//! UDP sockets as the tunnel wants them.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// What the system is asked to keep of packets that wait, each way: 16 ms at 1 Gbit/s. Its usual
/// 208 KiB are less than a burst of a wide path, and what does not fit is lost.
const BUFFER: usize = 2 * 1024 * 1024;

/// Binds a socket for QUIC.
///
/// # Errors
/// What the system says: the address is in use, or not ours. That it gives smaller buffers
/// (`net.core.rmem_max`) is no error.
pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(BUFFER).ok();
    socket.set_send_buffer_size(BUFFER).ok();
    socket.bind(&address.into())?;
    Ok(socket.into())
}
