//! Nothing between the application and TLS.

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_local;

use crate::bulk::{Counter, PIECE, count, measure, piece};
use crate::carrier::{Far, Near, Tls};

/// The first byte says what the connection is for.
async fn far(mut io: Far) {
    if io.read_u8().await.unwrap() == b'b' {
        let piece = piece();
        while io.write_all(&piece).await.is_ok() {}
        return;
    }
    let mut buffer = vec![0; PIECE];
    while let Ok(read @ 1..) = io.read(&mut buffer).await {
        if io.write_all(&buffer[..read]).await.is_err() || io.flush().await.is_err() {
            return;
        }
    }
}

async fn bulk(tls: &Tls, address: std::net::SocketAddr, stream: usize, phases: (Counter, Counter)) {
    let mut io = tls.connect(address).await;
    io.write_all(b"b").await.unwrap();
    io.flush().await.unwrap();
    spawn_local(async move {
        let mut buffer = vec![0; PIECE];
        while let Ok(read @ 1..) = io.read(&mut buffer).await {
            count(&phases, stream, read);
        }
    });
}

/// One connection however many streams there are: what the encryption alone costs.
pub async fn download(tls: &Tls, phases: (Counter, Counter)) -> (f64, f64) {
    let address = tls.listen(1, far);
    bulk(tls, address, 0, phases.clone()).await;
    measure(&phases).await
}

pub struct Echo {
    io: Near,
}

impl Echo {
    pub async fn new(tls: &Tls, streams: usize, phases: &(Counter, Counter)) -> Self {
        let address = tls.listen(streams + 1, far);
        for stream in 0..streams {
            bulk(tls, address, stream, phases.clone()).await;
        }
        let mut io = tls.connect(address).await;
        io.write_all(b"e").await.unwrap();
        Self { io }
    }

    pub async fn ping(&mut self, message: &Bytes) {
        self.io.write_all(message).await.unwrap();
        self.io.flush().await.unwrap();
        let mut back = vec![0; message.len()];
        self.io.read_exact(&mut back).await.unwrap();
    }
}
