//! A CONNECT proxy that leads every name to one address, so that kubectl uses
//! `tunnel-….pipeops.localhost` on machines whose resolver knows no such names,
//! with no change to /etc/hosts. The client still checks the certificate.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

/// A proxy that lives as long as the test process.
#[derive(Debug, Clone, Copy)]
pub struct ConnectProxy {
    pub addr: SocketAddr,
}

impl ConnectProxy {
    pub fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || relay(client, to));
            }
        });
        Self { addr }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

fn relay(client: TcpStream, to: SocketAddr) -> io::Result<()> {
    let mut head = BufReader::with_capacity(1, client.try_clone()?); // not a byte past the head
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Ok(());
        }
    }
    let server = TcpStream::connect(to)?;
    (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (up_from, up_to) = (client.try_clone()?, server.try_clone()?);
    let up = thread::spawn(move || pump(&up_from, &up_to));
    pump(&server, &client);
    drop(up.join());
    Ok(())
}

/// Copies to the end, then closes that direction only.
fn pump(mut from: &TcpStream, mut to: &TcpStream) {
    let copied = io::copy(&mut from, &mut to);
    let how = if copied.is_ok() {
        Shutdown::Write
    } else {
        Shutdown::Both
    };
    drop(to.shutdown(how)); // the other side may have closed it
}
