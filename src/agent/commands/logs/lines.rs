//! A log's lines as they come from the API server, each with its time before it, and the place where they broke off.
//!
//! Without I/O. Kubelets compare times by whole seconds, so that a log that is asked for again begins earlier than it broke
//! off. It is in the same order then: all is passed over up to the last line that was seen, found by its time to the
//! nanosecond, and as much of that line as was seen.

use jiff::Timestamp;

use super::gaps::Gaps;

#[cfg(test)]
mod tests;

/// Bytes of the longest time: `2026-01-01T00:00:00.000000000+00:00`.
const MAX_STAMP: usize = 35;

/// Two outputs of one container may be written in an order that is not that of their lines' times, by as much as this.
const DISORDER: i64 = 1;

/// Where the log broke off is not in it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the connection broke, and that line is not in the log any more: the node has rotated or removed it"
)]
pub(super) struct Lost;

/// What happens to the rest of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Passed,
    /// Not asked for, or passed on before.
    Dropped,
    /// So many bytes were passed on before; then as said.
    Known {
        left: u64,
        passed: bool,
    },
}

/// Where in a line the next byte is.
#[derive(Debug)]
enum State {
    /// In its time, or what should be one.
    Stamp(Vec<u8>),
    Body(Body),
}

/// The last line that was seen.
#[derive(Debug)]
struct Mark {
    time: Timestamp,
    /// How many lines in a row have this very time, it included.
    nth: u64,
    /// Bytes of it that were seen, its end included.
    seen: u64,
    passed: bool,
}

/// The search for the [`Mark`] in a log that was asked for again.
#[derive(Debug)]
struct Search {
    /// Lines with its time that are still to come.
    left: u64,
    file: File,
    /// Whether any line came.
    begun: bool,
}

/// What a log that is asked for again has to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    /// The place where it broke off.
    Same,
    /// That place, or what comes right behind it: the file before was read to its end.
    OrNext,
}

/// One log.
#[derive(Debug)]
pub(super) struct Lines {
    stamps: bool,
    since: Option<Timestamp>,
    state: State,
    mark: Option<Mark>,
    search: Option<Search>,
    taken: u64,
}

impl Lines {
    /// `stamps`: whether lines keep their times; `since`: which are wanted.
    pub(super) fn new(stamps: bool, since: Option<Timestamp>) -> Self {
        Self {
            stamps,
            since,
            state: State::Stamp(Vec::new()),
            mark: None,
            search: None,
            taken: 0,
        }
    }

    /// The time of the last line that was seen.
    pub(super) fn last(&self) -> Option<Timestamp> {
        self.mark.as_ref().map(|mark| mark.time)
    }

    /// Bytes of lines that were new, to see whether there is any progress.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether a log that is at its end did not have the place where it broke off.
    pub(super) fn is_lost(&self) -> bool {
        let search = self.search.as_ref();
        search.is_some_and(|search| search.begun || search.file == File::Same)
    }

    /// The next bytes are those of a new connection.
    pub(super) fn resume(&mut self, file: File) {
        self.state = State::Stamp(Vec::new());
        self.search = self.mark.as_ref().map(|mark| Search {
            left: mark.nth,
            file,
            begun: false,
        });
    }

    /// Takes bytes of the log; `sink` gets those that are to be passed on.
    ///
    /// # Errors
    /// [`Lost`] when the place where it broke off does not come.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        gaps: &mut Gaps,
        mut sink: impl FnMut(&[u8]),
    ) -> Result<(), Lost> {
        gaps.received(bytes.len());
        while !bytes.is_empty() {
            bytes = match std::mem::replace(&mut self.state, State::Stamp(Vec::new())) {
                State::Stamp(stamp) => self.stamp(stamp, bytes, gaps, &mut sink)?,
                State::Body(body) => self.body(body, bytes, &mut sink),
            };
        }
        Ok(())
    }

    /// Goes on with a line's time; returns what comes behind.
    fn stamp<'b>(
        &mut self,
        mut stamp: Vec<u8>,
        bytes: &'b [u8],
        gaps: &mut Gaps,
        sink: &mut impl FnMut(&[u8]),
    ) -> Result<&'b [u8], Lost> {
        let (window, _) = bytes.split_at(bytes.len().min(MAX_STAMP + 1 - stamp.len()));
        let end = memchr::memchr2(b' ', b'\n', window);
        let (more, rest) = bytes.split_at(end.unwrap_or(window.len()));
        stamp.extend_from_slice(more);
        if end.is_none() && stamp.len() <= MAX_STAMP {
            self.state = State::Stamp(stamp);
            return Ok(rest);
        }
        let time = std::str::from_utf8(&stamp)
            .ok()
            .and_then(|text| text.parse().ok());
        match (time, rest.split_first()) {
            (Some(time), Some((b' ', rest))) => {
                let body = self.begin(time, gaps)?;
                if body == Body::Passed && self.stamps {
                    stamp.push(b' ');
                    sink(&stamp);
                }
                self.state = State::Body(body);
                Ok(rest)
            }
            // No line of the log, but a word of the kubelet's about it.
            _ if self.search.is_some() => Err(Lost),
            _ => {
                sink(&stamp);
                self.state = State::Body(Body::Passed);
                Ok(rest)
            }
        }
    }

    /// A line begins that is of this time.
    fn begin(&mut self, time: Timestamp, gaps: &mut Gaps) -> Result<Body, Lost> {
        if let (Some(search), Some(mark)) = (&mut self.search, &self.mark) {
            let is_first = !std::mem::replace(&mut search.begun, true);
            if is_first && search.file == File::OrNext && time > mark.time {
                self.search = None;
                gaps.rotated(time);
                return Ok(self.take(time));
            }
            if time.as_second() > mark.time.as_second() + DISORDER {
                return Err(Lost);
            }
            if time != mark.time {
                return Ok(Body::Dropped);
            }
            search.left = search.left.saturating_sub(1);
            if search.left > 0 {
                return Ok(Body::Dropped);
            }
            let (left, passed) = (mark.seen, mark.passed);
            self.search = None;
            return Ok(Body::Known { left, passed });
        }
        gaps.line(time);
        Ok(self.take(time))
    }

    /// A line that was not seen before.
    fn take(&mut self, time: Timestamp) -> Body {
        let passed = self.since.is_none_or(|since| time >= since);
        let before = self.mark.take().filter(|mark| mark.time == time);
        self.mark = Some(Mark {
            time,
            nth: before.map_or(0, |mark| mark.nth) + 1,
            seen: 0,
            passed,
        });
        self.taken += 1;
        if passed { Body::Passed } else { Body::Dropped }
    }

    /// Goes on with a line; returns what comes behind.
    fn body<'b>(&mut self, body: Body, bytes: &'b [u8], sink: &mut impl FnMut(&[u8])) -> &'b [u8] {
        let end = memchr::memchr(b'\n', bytes);
        let (mut line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        let mut next = body;
        if let Body::Known { left, passed } = body {
            let known = usize::try_from(left).unwrap_or(usize::MAX).min(line.len());
            (_, line) = line.split_at(known);
            let left = left - u64::try_from(known).unwrap_or(left);
            next = match (left, passed) {
                (0, true) => Body::Passed,
                (0, false) => Body::Dropped,
                _ => Body::Known { left, passed },
            };
        }
        if next == Body::Passed && !line.is_empty() {
            sink(line);
        }
        self.note(line.len());
        if end.is_none() {
            self.state = State::Body(next);
        }
        rest
    }

    /// So many more bytes of the last line were seen; while the search goes on, none of them is.
    fn note(&mut self, bytes: usize) {
        if let (Some(mark), None) = (&mut self.mark, &self.search) {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            mark.seen = mark.seen.saturating_add(bytes);
            self.taken = self.taken.saturating_add(bytes);
        }
    }
}

/// The whole second that a time is in: what kubelets compare, and kube would round up.
pub(super) fn second(time: Timestamp) -> Timestamp {
    let seconds = time.as_second() - i64::from(time.subsec_nanosecond() < 0);
    Timestamp::from_second(seconds).unwrap_or(time)
}

/// From when on to ask again for a log that broke off at a line of `time`.
pub(super) fn before(time: Timestamp) -> Timestamp {
    Timestamp::from_second(second(time).as_second() - DISORDER).unwrap_or(time)
}
