use proptest::prelude::*;

use super::*;

/// A log as a kubelet has it.
#[derive(Debug, Clone)]
struct Log(Vec<(Timestamp, Vec<u8>)>);

impl Log {
    /// What is answered from a time on, which a kubelet compares by whole seconds.
    fn from(&self, since: Option<Timestamp>) -> Vec<u8> {
        let mut text = Vec::new();
        for (time, body) in &self.0 {
            if since.is_none_or(|since| *time >= second(since)) {
                text.extend(format!("{time:.9} ").into_bytes());
                text.extend(body);
            }
        }
        text
    }

    fn bodies(&self, since: Option<Timestamp>) -> Vec<u8> {
        let wanted = self
            .0
            .iter()
            .filter(|(time, _)| since.is_none_or(|since| *time >= since));
        wanted.flat_map(|(_, body)| body.clone()).collect()
    }
}

fn nanos(nanos: i128) -> Timestamp {
    Timestamp::from_nanosecond(1_700_000_000_000_000_000 + nanos).unwrap()
}

fn gaps() -> Gaps {
    Gaps::new(Timestamp::MAX)
}

fn read(lines: &mut Lines, bytes: &[u8]) -> Result<Vec<u8>, Lost> {
    let mut got = Vec::new();
    lines.feed(bytes, &mut gaps(), |bytes| got.extend_from_slice(bytes))?;
    Ok(got)
}

#[test]
fn times_are_kept_or_taken_off() {
    let text = b"2026-01-01T00:00:00.000000001Z one\n2026-01-01T00:00:00.5+01:00 \n";
    assert_eq!(read(&mut Lines::new(true, None), text).unwrap(), text);
    assert_eq!(
        read(&mut Lines::new(false, None), text).unwrap(),
        b"one\n\n"
    );
}

#[test]
fn a_kubelets_own_words_are_passed_on() {
    let text = b"unable to retrieve container logs for containerd://0123456789abcdef\nrpc\n\n2026-01-01T00:00:00Z x";
    let got = read(&mut Lines::new(false, None), text).unwrap();
    let expected = b"unable to retrieve container logs for containerd://0123456789abcdef\nrpc\n\nx";
    assert_eq!(got, expected);
}

#[test]
fn since_is_exact() {
    let text = b"2026-01-01T00:00:00.1Z a\n2026-01-01T00:00:00.2Z b\n";
    let since = "2026-01-01T00:00:00.15Z".parse().unwrap();
    assert_eq!(
        read(&mut Lines::new(false, Some(since)), text).unwrap(),
        b"b\n"
    );
}

#[test]
fn a_place_that_is_gone_is_told() {
    let mut lines = Lines::new(false, None);
    read(&mut lines, b"2026-01-01T00:00:00.5Z a\n").unwrap();
    lines.resume(File::Same);
    assert_eq!(
        read(&mut lines, b"2026-01-01T00:00:00.2Z b\n").unwrap(),
        b""
    );
    assert!(lines.is_lost());
    assert_eq!(read(&mut lines, b"2026-01-01T00:00:02Z c\n"), Err(Lost));
}

#[test]
fn the_next_file_is_gone_on_with_where_the_last_was_read_to_its_end() {
    let mut lines = Lines::new(false, None);
    read(&mut lines, b"2026-01-01T00:00:00.5Z a\n").unwrap();
    lines.resume(File::OrNext);
    assert!(!lines.is_lost());
    let next = b"2026-01-01T00:00:00.6Z b\n2026-01-01T00:00:00.5Z c\n";
    assert_eq!(read(&mut lines, next).unwrap(), b"b\nc\n");
    lines.resume(File::OrNext);
    let again = b"2026-01-01T00:00:00.2Z x\n2026-01-01T00:00:00.5Z c\n2026-01-01T00:00:00.6Z d\n";
    assert_eq!(read(&mut lines, again).unwrap(), b"d\n");
    lines.resume(File::OrNext);
    read(&mut lines, b"2026-01-01T00:00:00.2Z x\n").unwrap();
    assert!(lines.is_lost());
}

#[test]
fn seconds_are_rounded_down() {
    assert_eq!(second(nanos(1_999_999_999)), nanos(1_000_000_000));
    let early = Timestamp::from_nanosecond(-1).unwrap();
    assert_eq!(second(early), Timestamp::from_second(-1).unwrap());
    assert_eq!(before(nanos(2_500_000_000)), nanos(1_000_000_000));
}

prop_compose! {
    /// Lines at times that mostly grow, some of them the same and some a little earlier; bytes of any kind.
    fn log()(
        lines in proptest::collection::vec(
            (prop_oneof![Just(0_i128), 1_i128..900_000_000, -900_000_i128..0], "[ a-c\u{e9}\r]{0,12}"),
            1..60,
        ),
        ends in any::<bool>(),
    ) -> Log {
        let mut time = 0;
        let last = lines.len() - 1;
        let lines = lines.into_iter().enumerate().map(|(n, (step, body))| {
            time += step;
            let end = if ends || n < last { "\n" } else { "" };
            (nanos(time), format!("{body}{end}").into_bytes())
        });
        Log(lines.collect())
    }
}

proptest! {
    #[test]
    fn a_log_that_breaks_anywhere_is_whole(
        log in log(),
        breaks in proptest::collection::vec(0_usize..600, 0..6),
        piece in 1_usize..40,
        tail in 0_usize..60,
        since in proptest::option::of(0_i128..5_000_000_000),
    ) {
        // A first request may ask for the last lines only; the next ones get all of the log.
        let tail = Log(log.0.iter().skip(tail % log.0.len()).cloned().collect());
        // Of lines with the very same time, none may be before the tail: times are the only names that they have.
        let before = log.0.len() - tail.0.len();
        prop_assume!(!log.0.iter().take(before).any(|(time, _)| tail.0.iter().any(|(other, _)| other == time)));
        // And lines of the same time are next to each other.
        let mut times: Vec<_> = log.0.iter().map(|(time, _)| *time).collect();
        times.dedup();
        let distinct: std::collections::HashSet<_> = times.iter().collect();
        prop_assume!(distinct.len() == times.len());

        let since = since.map(nanos);
        let mut lines = Lines::new(false, since);
        let mut got = Vec::new();
        let cuts = breaks.iter().map(|at| Some(*at)).chain([None]);
        for at in cuts {
            let text = match lines.last() {
                Some(last) => log.from(Some(super::before(last))),
                None => tail.from(since),
            };
            let (text, _) = text.split_at(at.unwrap_or(text.len()).min(text.len()));
            for piece in text.chunks(piece) {
                got.extend(read(&mut lines, piece).unwrap());
            }
            if at.is_some() {
                lines.resume(File::Same);
            }
        }
        prop_assert_eq!(got, tail.bodies(since));
    }
}
