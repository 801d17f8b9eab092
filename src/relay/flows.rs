//! One UDP listener and its many senders, each of which has a flow of its own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::net::UdpSocket;

use super::datagrams::{Queue, receive};
use crate::metrics::Dropped;
use crate::wire::limits::MAX_FLOWS;

/// A listener; at most [`MAX_FLOWS`] senders at once.
#[derive(Debug)]
pub struct Flows {
    socket: UdpSocket,
    queues: RefCell<HashMap<SocketAddr, Rc<Queue>>>,
}

/// What comes from one sender and goes back to it; dropped, it makes room for another.
#[derive(Debug)]
pub struct Flow {
    /// The sender.
    pub peer: SocketAddr,
    /// What it sent.
    pub queue: Rc<Queue>,
    flows: Rc<Flows>,
}

impl Flows {
    /// Listens on a socket that is bound and not connected.
    #[must_use]
    pub fn new(socket: UdpSocket) -> Rc<Self> {
        Rc::new(Self {
            socket,
            queues: RefCell::default(),
        })
    }

    /// Receives until the socket fails: `open` gets the flow of each new sender, `dropped` is told
    /// of each datagram that is lost.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn run(
        self: Rc<Self>,
        open: impl Fn(Flow),
        dropped: impl Fn(Dropped),
    ) -> io::Result<Infallible> {
        receive(&self.socket, |peer, datagram| {
            let known = self.queues.borrow().get(&peer).cloned();
            let queue = match known {
                Some(queue) => queue,
                None if self.queues.borrow().len() >= MAX_FLOWS => {
                    return dropped(Dropped::TooManySenders);
                }
                None => {
                    let flow = self.begin(peer);
                    let queue = Rc::clone(&flow.queue);
                    open(flow);
                    queue
                }
            };
            if let Err(why) = queue.push(datagram) {
                dropped(why);
            }
        })
        .await
    }

    fn begin(self: &Rc<Self>, peer: SocketAddr) -> Flow {
        let queue = Rc::new(Queue::default());
        self.queues.borrow_mut().insert(peer, Rc::clone(&queue));
        Flow {
            peer,
            queue,
            flows: Rc::clone(self),
        }
    }
}

impl Flow {
    /// Sends a datagram back.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn send(&self, datagram: &[u8]) -> io::Result<()> {
        let sent = self.flows.socket.send_to(datagram, self.peer).await;
        sent.map(drop)
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.flows.queues.borrow_mut().remove(&self.peer);
    }
}
