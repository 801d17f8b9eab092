use super::*;
use futures_util::{SinkExt, StreamExt};
use proptest::prelude::*;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// The library that is the oracle.
async fn oracle(io: DuplexStream, role: Role) -> WebSocketStream<DuplexStream> {
    let config = WebSocketConfig::default().max_message_size(None);
    WebSocketStream::from_raw_socket(io, role, Some(config)).await
}

fn ours(io: DuplexStream, oracle: Role) -> WebSocket<DuplexStream> {
    match oracle {
        Role::Server => WebSocket::client(io),
        Role::Client => WebSocket::server(io),
    }
}

/// `length` bytes that are never the same twice in a row.
fn bytes(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| u8::try_from((at * 31 + at / 251) % 256).unwrap())
        .collect()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn an_independent_library_reads_what_is_written(
        sizes in prop::collection::vec(prop_oneof![0..200usize, 60_000..140_000usize], 1..6),
        pipe in 1..70_000usize, client: bool
    ) {
        let role = if client { Role::Server } else { Role::Client };
        let sent: Vec<_> = sizes.iter().map(|size| bytes(*size)).collect();
        let expected = sent.concat();
        let read = block_on(async {
            let (near, far) = duplex(pipe);
            let mut ours = ours(near, role);
            let writing = async move {
                for part in sent {
                    ours.write_all(&part).await.unwrap();
                    ours.flush().await.unwrap();
                }
                ours.shutdown().await.unwrap();
                ours
            };
            let mut theirs = oracle(far, role).await;
            let reading = async move {
                let mut read = Vec::new();
                while let Some(Ok(message)) = theirs.next().await {
                    match &message {
                        Message::Binary(data) => {
                            assert!(data.len() <= crate::wire::limits::WEBSOCKET_MESSAGE);
                            read.extend_from_slice(data);
                        }
                        Message::Close(frame) => assert_eq!(u16::from(frame.as_ref().unwrap().code), 1000),
                        Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                            panic!("{message:?}")
                        }
                    }
                }
                read
            };
            tokio::join!(reading, writing).0
        });
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn what_an_independent_library_writes_is_read(
        sizes in prop::collection::vec(prop_oneof![0..200usize, 60_000..300_000usize], 1..6),
        pipe in 1..70_000usize, reads in 1..70_000usize, client: bool
    ) {
        let role = if client { Role::Server } else { Role::Client };
        let expected = sizes.iter().map(|size| bytes(*size)).collect::<Vec<_>>().concat();
        let (read, pongs) = block_on(async {
            let (near, far) = duplex(pipe);
            let mut ours = ours(near, role);
            let (mut sink, mut stream) = oracle(far, role).await.split();
            let count = sizes.len();
            let writing = async move {
                for (at, size) in sizes.into_iter().enumerate() {
                    sink.send(Message::Ping(vec![u8::try_from(at).unwrap()].into())).await.unwrap();
                    sink.send(Message::binary(bytes(size))).await.unwrap();
                }
                sink.close().await.unwrap();
            };
            let reading = async move {
                let (mut read, mut buffer) = (Vec::new(), vec![0; reads]);
                loop {
                    match ours.read(&mut buffer).await.unwrap() {
                        0 => break,
                        some => read.extend_from_slice(&buffer[..some]),
                    }
                }
                // The answers to the last frames may still be waiting for room.
                drop(ours.flush().await);
                read
            };
            let answers = async move {
                let mut pongs = Vec::new();
                while let Some(Ok(message)) = stream.next().await {
                    if let Message::Pong(payload) = message {
                        pongs.push(payload[0]);
                    }
                }
                pongs
            };
            let ((), read, pongs) = tokio::join!(writing, reading, answers);
            assert!(pongs.len() <= count);
            (read, pongs)
        });
        prop_assert_eq!(read, expected);
        prop_assert!(pongs.is_sorted(), "{:?}", pongs);
    }

    #[test]
    fn no_bytes_of_a_peer_do_harm(data in prop::collection::vec(any::<u8>(), 0..400), client: bool) {
        block_on(async {
            let (near, mut far) = duplex(1024);
            far.write_all(&data).await.unwrap();
            drop(far.shutdown().await);
            let mut ours = ours(near, if client { Role::Server } else { Role::Client });
            let mut read = Vec::new();
            drop(ours.read_to_end(&mut read).await);
            assert!(read.len() <= data.len());
        });
    }
}

/// Frames by hand, as a server sends them.
async fn read_of(frames: &[&[u8]]) -> (io::Result<usize>, Vec<u8>, Vec<u8>) {
    let (near, mut far) = duplex(64 * 1024);
    far.write_all(&frames.concat()).await.unwrap();
    far.shutdown().await.unwrap();
    let mut ours = WebSocket::client(near);
    let mut data = Vec::new();
    let ended = ours.read_to_end(&mut data).await;
    drop(ours);
    let mut answered = Vec::new();
    far.read_to_end(&mut answered).await.unwrap();
    (ended, data, answered)
}

#[tokio::test]
async fn a_message_in_parts_with_a_ping_between_is_one_stream() {
    let (ended, data, answered) = read_of(&[
        &[0x02, 3],
        b"abc",
        &[0x89, 2],
        b"hi",
        &[0x00, 0],
        &[0x80, 2],
        b"de",
        &[0x82, 1],
        b"f",
    ])
    .await;
    assert_eq!((ended.unwrap(), data.as_slice()), (6, &b"abcdef"[..]));
    assert_eq!(answered[..2], [0x8a, 0x82], "a masked pong");
    let masked: Vec<_> = (0..2)
        .map(|at| answered[6 + at] ^ answered[2 + at])
        .collect();
    assert_eq!(masked, b"hi");
}

#[tokio::test]
async fn a_close_is_answered_and_ends_the_stream() {
    let (ended, data, answered) =
        read_of(&[&[0x82, 1], b"a", &[0x88, 2, 0x03, 0xe9], &[0x82, 1], b"b"]).await;
    assert_eq!((ended.unwrap(), data.as_slice()), (1, &b"a"[..]));
    assert_eq!(answered[..2], [0x88, 0x82]);
    assert_eq!(answered[6] ^ answered[2], 0x03);
}

#[tokio::test]
async fn frames_out_of_order_and_ends_within_are_errors() {
    for frames in [
        &[&[0x80, 1][..], b"a"][..],
        &[&[0x02, 1], b"a", &[0x82, 1], b"b"],
        &[&[0x82, 0x81, 0, 0, 0, 0], b"a"],
        &[&[0x82, 3], b"a"],
        &[&[0x82]],
        &[&[0x89, 4], b"a"],
    ] {
        let (ended, ..) = read_of(frames).await;
        assert!(ended.is_err(), "{frames:?}");
    }
}

#[tokio::test]
async fn a_length_is_no_reason_to_allocate() {
    // 2^62 bytes are announced and three come.
    let (ended, data, _) = read_of(&[&[0x82, 127, 0x40, 0, 0, 0, 0, 0, 0, 0], b"abc"]).await;
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(data, b"abc");
}

#[tokio::test]
async fn a_flood_of_empty_frames_lets_others_run_and_does_not_grow() {
    let (near, mut far) = duplex(64 * 1024);
    let flood = tokio::spawn(async move {
        let many = [0x82, 0].repeat(10_000);
        while far.write_all(&many).await.is_ok() {}
    });
    let mut ours = WebSocket::client(near);
    let mut one = [0];
    let reading = ours.read(&mut one);
    let others = tokio::time::sleep(std::time::Duration::from_millis(50));
    tokio::select! {
        read = reading => panic!("{read:?}"),
        () = others => {}
    }
    drop(ours);
    flood.await.unwrap();
}

#[tokio::test]
async fn an_idle_connection_holds_no_large_buffer() {
    let (near, mut far) = duplex(1024 * 1024);
    let mut ours = WebSocket::client(near);
    ours.write_all(&bytes(300_000)).await.unwrap();
    ours.flush().await.unwrap();
    for _ in 0..8 {
        ours.write_all(b"little").await.unwrap();
        ours.flush().await.unwrap();
    }
    assert!(
        ours.outgoing.capacity() <= 4096,
        "{}",
        ours.outgoing.capacity()
    );
    let mut first = [0; 8];
    far.read_exact(&mut first).await.unwrap();
    // The first message fills four TLS records with its header.
    assert_eq!((first[0], first[1]), (0x82, 0xfe));
    assert_eq!(u16::from_be_bytes([first[2], first[3]]), 65528);
}

#[tokio::test]
async fn every_message_has_another_key() {
    let (near, mut far) = duplex(1024 * 1024);
    let mut ours = WebSocket::client(near);
    let mut keys = std::collections::HashSet::new();
    for _ in 0..1000 {
        ours.write_all(b"x").await.unwrap();
        ours.flush().await.unwrap();
        let mut frame = [0; 7];
        far.read_exact(&mut frame).await.unwrap();
        keys.insert(frame[2..6].to_vec());
    }
    assert!(keys.len() >= 999, "{} keys of 1000", keys.len());
}
