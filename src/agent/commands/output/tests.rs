#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "anything else fails the test"
)]

use proptest::prelude::*;

use super::*;

/// What the messages say, joined.
fn bytes_of(messages: &[Message], source: Source) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        let (of, encoding, data) = match message {
            Message::ExecOutput(output) => (
                match output.stream {
                    OutputStream::Stdout => Source::Stdout,
                    OutputStream::Stderr => Source::Stderr,
                },
                output.encoding,
                &output.data,
            ),
            Message::LogsOutput(output) => (Source::Log, output.encoding, &output.data),
            other => panic!("{other:?}"),
        };
        if of == source {
            bytes.extend(decode(encoding, data).unwrap());
        }
    }
    bytes
}

fn sequence_of(message: &Message) -> u64 {
    match message {
        Message::ExecOutput(output) => output.sequence,
        Message::LogsOutput(output) => output.sequence,
        other => panic!("{other:?}"),
    }
}

fn drain(queue: &mut mpsc::Receiver<Message>) -> Vec<Message> {
    std::iter::from_fn(|| queue.try_recv().ok()).collect()
}

fn output(room: usize, credit: Option<u64>) -> (Output, Outgoing, mpsc::Receiver<Message>) {
    let (sender, queue) = mpsc::channel(room);
    let out = Outgoing::new("c-1", sender, credit);
    (Output::new(out.clone()), out, queue)
}

async fn send(output: &mut Output) {
    let ready = output.ready().await.unwrap();
    output.emit(ready);
}

/// Whether nothing is sent within a minute.
async fn is_silent(output: &Output) -> bool {
    tokio::time::timeout(Duration::from_secs(60), output.ready())
        .await
        .is_err()
}

#[tokio::test(start_paused = true)]
async fn a_character_waits_for_its_end_but_not_for_ever() {
    let (mut output, _, mut queue) = output(8, None);
    output.push(Source::Stdout, &"aé".as_bytes()[..2]);
    send(&mut output).await;
    output.push(Source::Stdout, &"é".as_bytes()[1..]);
    send(&mut output).await;
    output.push(Source::Stdout, &[0xe2, 0x82]);
    let before = Instant::now();
    send(&mut output).await;
    assert!(before.elapsed() >= HOLD && before.elapsed() < HOLD * 2);
    let sent = drain(&mut queue);
    let encodings: Vec<_> = sent
        .iter()
        .map(|message| match message {
            Message::ExecOutput(output) => (output.encoding, output.data.as_str()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        encodings,
        [
            (Encoding::Utf8, "a"),
            (Encoding::Utf8, "é"),
            (Encoding::Base64, "4oI=")
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_comes_together_is_one_message_and_an_echo_is_quick() {
    let (mut output, _, mut queue) = output(8, None);
    let before = Instant::now();
    output.push(Source::Stdout, b"one ");
    output.push(Source::Stdout, b"two");
    output.push(Source::Stderr, b"oh");
    send(&mut output).await;
    send(&mut output).await;
    assert!(before.elapsed() <= GATHER * 2, "{:?}", before.elapsed());
    let sent = drain(&mut queue);
    assert_eq!(sent.len(), 2);
    assert_eq!(bytes_of(&sent, Source::Stdout), b"one two");
    assert_eq!(bytes_of(&sent, Source::Stderr), b"oh");
}

#[tokio::test(start_paused = true)]
async fn a_chatty_program_leaves_messages_to_others() {
    let (mut output, _, mut queue) = output(4096, None);
    let before = Instant::now();
    while before.elapsed() < Duration::from_secs(60) {
        output.push(Source::Stdout, b"x\n");
        tokio::select! {
            ready = output.ready() => output.emit(ready.unwrap()),
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
    let sent = drain(&mut queue).len();
    assert!((500..=625).contains(&sent), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn an_echo_is_quick_after_a_flood_too() {
    let (mut output, out, mut queue) = output(4096, Some(0));
    for _ in 0..1000 {
        out.grant(32 * 1024);
        output.push(Source::Stdout, &vec![b'x'; MAX_OUTPUT]);
        send(&mut output).await;
    }
    output.push(Source::Stdout, &vec![b'x'; MAX_OUTPUT]);
    for _ in 0..1000 {
        out.grant(1);
        send(&mut output).await;
    }
    out.grant(u64::MAX);
    let before = Instant::now();
    send(&mut output).await;
    output.push(Source::Stdout, b"y");
    send(&mut output).await;
    assert!(before.elapsed() <= SPACING * 3, "{:?}", before.elapsed());
    assert_eq!(drain(&mut queue).len(), 2002);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_sent_than_was_granted() {
    let (mut output, out, mut queue) = output(8, Some(3));
    output.push(Source::Log, b"abcdef");
    send(&mut output).await;
    assert!(is_silent(&output).await);
    out.grant(1);
    send(&mut output).await;
    assert!(is_silent(&output).await);
    out.grant(u64::MAX);
    out.grant(u64::MAX);
    send(&mut output).await;
    let sent = drain(&mut queue);
    assert_eq!(
        sent.iter()
            .map(|message| bytes_of(std::slice::from_ref(message), Source::Log))
            .collect::<Vec<_>>(),
        [b"abc".to_vec(), b"d".to_vec(), b"ef".to_vec()]
    );
}

#[tokio::test(start_paused = true)]
async fn credit_of_less_than_a_character_is_used() {
    let (mut output, out, mut queue) = output(8, Some(0));
    output.push(Source::Log, "€".as_bytes());
    for _ in 0..3 {
        out.grant(1);
        send(&mut output).await;
    }
    assert_eq!(bytes_of(&drain(&mut queue), Source::Log), "€".as_bytes());
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_stops_the_reading() {
    let (mut output, _, mut queue) = output(1, None);
    output.push(Source::Log, &vec![b'x'; MAX_OUTPUT]);
    assert!(!output.has_room());
    send(&mut output).await;
    assert!(output.has_room());
    output.push(Source::Log, &vec![b'y'; MAX_OUTPUT]);
    assert!(is_silent(&output).await);
    assert_eq!(drain(&mut queue).len(), 1);
    send(&mut output).await;
}

#[tokio::test(start_paused = true)]
async fn it_fails_only_when_nobody_will_take_it() {
    let (mut output, _, queue) = output(1, None);
    output.push(Source::Log, b"x");
    drop(queue);
    assert_eq!(output.finish().await, Err(Gone));
}

#[test]
fn input_is_what_it_says_to_be() {
    assert_eq!(decode(Encoding::Utf8, "é").unwrap(), "é".as_bytes());
    assert_eq!(decode(Encoding::Base64, "4oI=").unwrap(), [0xe2, 0x82]);
    assert!(decode(Encoding::Base64, "4oI").is_err());
}

/// Text with odd bytes in it, so that characters are cut in every way.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        "[aé€𝄞\n]{0,40}".prop_map(String::into_bytes),
        Just("€".repeat(30_000).into_bytes()),
        Just(vec![0xff; 50_000]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn bytes_are_kept_however_they_come(
        pieces in proptest::collection::vec((piece(), any::<bool>(), 0_u64..60), 0..12),
        credits in proptest::option::of(proptest::collection::vec(0_u64..70_000, 0..8)),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (mut output, out, mut queue) = output(4096, credits.as_ref().map(|_| 0));
            let mut grants = credits.clone().unwrap_or_default().into_iter();
            let mut granted = 0;
            let (mut stdout, mut stderr) = (Vec::<u8>::new(), Vec::<u8>::new());
            for (bytes, is_stdout, pause) in &pieces {
                let source = if *is_stdout { Source::Stdout } else { Source::Stderr };
                output.push(source, bytes);
                if *is_stdout { &mut stdout } else { &mut stderr }.extend(bytes);
                let credit = grants.next().unwrap_or(0);
                granted += credit;
                out.grant(credit);
                let pause = Duration::from_millis(*pause);
                if let Ok(ready) = tokio::time::timeout(pause, output.ready()).await {
                    output.emit(ready.unwrap());
                }
            }
            let mut sent = drain(&mut queue);
            if credits.is_some() {
                let so_far = bytes_of(&sent, Source::Stdout).len() + bytes_of(&sent, Source::Stderr).len();
                assert!(u64::try_from(so_far).unwrap() <= granted);
                out.grant(u64::MAX);
            }
            output.finish().await.unwrap();
            sent.extend(drain(&mut queue));
            assert!(bytes_of(&sent, Source::Stdout) == stdout && bytes_of(&sent, Source::Stderr) == stderr);
            for (message, sequence) in sent.iter().zip(1..) {
                assert_eq!(sequence_of(message), sequence);
                let one = std::slice::from_ref(message);
                let length = bytes_of(one, Source::Stdout).len() + bytes_of(one, Source::Stderr).len();
                assert!(length > 0 && length <= MAX_OUTPUT);
            }
        });
    }

    #[test]
    fn text_stays_text(text in "[aé€𝄞]{1,64}", at in 0_usize..200) {
        let bytes = text.as_bytes();
        let (head, tail) = bytes.split_at(at.min(bytes.len()));
        let first = cut(head, Hold::Character);
        let length = first.as_ref().map_or(0, |piece| piece.length);
        prop_assert!(first.is_none_or(|piece| piece.encoding == Encoding::Utf8));
        let (_, held) = head.split_at(length);
        prop_assert!(held.len() <= 3);
        let rest = [held, tail].concat();
        prop_assert!(cut(&rest, Hold::Nothing).is_none_or(|piece| piece.encoding == Encoding::Utf8));
    }
}
