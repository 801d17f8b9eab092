//! An exchange of raw bytes or datagrams with a target.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tokio::net::{TcpStream, UdpSocket};

use super::{Exchange, Failure, Inbound};
use crate::agent::target::{Opened, OriginError, Target};
use crate::http::exchange::Receiver;
use crate::relay::{Datagrams, Queue, RelayError, abort, receive, relay};
use crate::wire::frame::Frame;
use crate::wire::head::ResponseHead;
use crate::wire::raw::RawProtocol;

impl Exchange<'_> {
    /// Connects, says so, and moves bytes both ways.
    pub(super) async fn raw(
        &mut self,
        target: &Target,
        protocol: RawProtocol,
        mut receiver: Receiver,
    ) -> Result<(), Failure> {
        let opened = tokio::select! {
            biased;
            opened = target.open(protocol) => opened?,
            // Nothing may come before the answer; the end of the stream does.
            _ = receiver.next() => return Err(Failure::Gone),
        };
        self.request.answered(target.name());
        let head = ResponseHead {
            status: StatusCode::SWITCHING_PROTOCOLS,
            headers: HeaderMap::new(),
        };
        self.sender.send(&Frame::Response(Box::new(head))).await?;
        match opened {
            Opened::Tcp(stream) => self.tcp(target, stream, &mut receiver).await?,
            Opened::Udp(socket, idle) => self.udp(target, socket, &mut receiver, idle).await?,
        }
        self.inbound = Inbound::Held(receiver);
        Ok(())
    }

    async fn tcp(
        &mut self,
        target: &Target,
        mut stream: TcpStream,
        receiver: &mut Receiver,
    ) -> Result<(), Failure> {
        let (sent, received) = (&self.request.sent, &self.request.received);
        let relayed = relay(&mut stream, &mut self.sender, receiver, sent, received).await;
        relayed.map_err(|error| {
            abort(&stream);
            match error {
                RelayError::Io(error) => {
                    let how = format!("it broke the connection off ({error})");
                    target.broken(&how).into()
                }
                RelayError::Exchange(_) => Failure::Gone,
                RelayError::Idle => target.broken(&error.to_string()).into(),
            }
        })
    }

    async fn udp(
        &mut self,
        target: &Target,
        socket: UdpSocket,
        receiver: &mut Receiver,
        idle: Duration,
    ) -> Result<(), Failure> {
        let queue = Queue::default();
        let request = &self.request;
        let mut datagrams = Datagrams {
            queue: &queue,
            sender: &mut self.sender,
            receiver,
            request,
            idle,
        };
        let ended = tokio::select! {
            ended = datagrams.relay(async |datagram| socket.send(datagram).await.map(drop)) => ended,
            failed = receive(&socket, |_, datagram| {
                if let Err(why) = queue.push(datagram) {
                    request.dropped(why);
                }
            }) => match failed {
                Err(error) => Err(RelayError::Io(error)),
                Ok(never) => match never {},
            }
        };
        ended.map_err(|error| match error {
            RelayError::Io(error) => OriginError::Refused(error)
                .into_api_error(target.name())
                .into(),
            RelayError::Exchange(_) | RelayError::Idle => Failure::Gone,
        })
    }
}
