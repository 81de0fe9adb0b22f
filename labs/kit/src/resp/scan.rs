//! Finds where a value ends, keeping what is needed of it.

use super::{Items, Kind, Reply, Text};

/// The longest line that is kept: a header, a simple string, an error. Longer ones are cut.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// The deepest nesting.
const DEPTH_MAX: usize = 64;

/// How much of a value is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Of each string.
    pub(crate) text: usize,
    /// Of the values of one frame, however nested.
    pub(crate) values: usize,
}

/// This is no RESP.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no RESP: {0}")]
pub(crate) struct Malformed(String);

/// Takes bytes in whatever pieces they come and says when a value is complete.
#[derive(Debug)]
pub(crate) struct Scanner {
    limits: Limits,
    part: Part,
    open: Vec<Open>,
    kept: usize,
}

#[derive(Debug)]
enum Part {
    Line { bytes: Vec<u8>, cut: bool, after_cr: bool },
    Body { sigil: u8, len: usize, read: usize, bytes: Vec<u8> },
}

#[derive(Debug)]
struct Open {
    kind: Kind,
    left: usize,
    items: Items,
}

impl Part {
    fn line() -> Self {
        Self::Line { bytes: Vec::new(), cut: false, after_cr: false }
    }
}

impl Scanner {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, part: Part::line(), open: Vec::new(), kept: 0 }
    }

    /// Reads on. Returns how many bytes it took, all of them unless a value is complete, and the value.
    pub(crate) fn feed(&mut self, input: &[u8]) -> Result<(usize, Option<Reply>), Malformed> {
        let mut taken = 0;
        while taken < input.len() {
            let (more, value) = self.step(&input[taken..])?;
            taken += more;
            if let Some(value) = value
                && let Some(value) = self.add(value)
            {
                self.kept = 0;
                return Ok((taken, Some(value)));
            }
        }
        Ok((taken, None))
    }

    /// As far as the line or the body goes.
    fn step(&mut self, input: &[u8]) -> Result<(usize, Option<Reply>), Malformed> {
        match &mut self.part {
            Part::Line { bytes, cut, after_cr } => {
                for (index, &byte) in input.iter().enumerate() {
                    if *after_cr && byte == b'\n' {
                        bytes.pop();
                        let line = std::mem::take(bytes);
                        self.part = Part::line();
                        return Ok((index + 1, self.header(&line)?));
                    }
                    *after_cr = byte == b'\r';
                    if bytes.len() >= LINE_BYTES_MAX {
                        // Room for the CR that the end of the line takes away.
                        *cut = true;
                        bytes.truncate(LINE_BYTES_MAX - 1);
                    }
                    bytes.push(byte);
                }
                Ok((input.len(), None))
            }
            Part::Body { sigil, len, read, bytes } => {
                let take = input.len().min(*len + 2 - *read);
                let text = take.min(len.saturating_sub(*read));
                let keep = text.min(self.limits.text.saturating_sub(bytes.len()));
                bytes.extend_from_slice(&input[..keep]);
                *read += take;
                if *read < *len + 2 {
                    return Ok((take, None));
                }
                let text = Text { bytes: std::mem::take(bytes), len: *len };
                let value = match sigil {
                    b'$' => Reply::Bulk(text),
                    b'!' => Reply::Error(text),
                    _ => Reply::Verbatim(text),
                };
                self.part = Part::line();
                Ok((take, Some(value)))
            }
        }
    }

    /// A line is complete: a value, or the head of one.
    fn header(&mut self, line: &[u8]) -> Result<Option<Reply>, Malformed> {
        let Some((&sigil, rest)) = line.split_first() else {
            return Err(Malformed("an empty line".to_owned()));
        };
        let text = || Text { bytes: rest[..rest.len().min(self.limits.text)].to_vec(), len: rest.len() };
        let value = match sigil {
            b'+' => Reply::Simple(text()),
            b'-' => Reply::Error(text()),
            b':' => Reply::Int(number(line)?),
            b'_' => Reply::Nil(b'_'),
            b',' | b'#' | b'(' => Reply::Scalar(sigil, rest.to_vec()),
            b'$' | b'=' | b'!' => {
                let len = number(line)?;
                let Ok(len) = usize::try_from(len) else { return Ok(Some(Reply::Nil(b'$'))) };
                if len > usize::MAX / 4 {
                    return Err(unexpected(line));
                }
                self.part = Part::Body { sigil, len, read: 0, bytes: Vec::new() };
                return Ok(None);
            }
            b'*' => return self.container(Kind::Array, line, 1),
            b'~' => return self.container(Kind::Set, line, 1),
            b'>' => return self.container(Kind::Push, line, 1),
            b'%' => return self.container(Kind::Map, line, 2),
            b'|' => return self.container(Kind::Attribute, line, 2),
            _ => return Err(unexpected(line)),
        };
        Ok(Some(value))
    }

    fn container(&mut self, kind: Kind, line: &[u8], each: usize) -> Result<Option<Reply>, Malformed> {
        let Ok(count) = usize::try_from(number(line)?) else { return Ok(Some(Reply::Nil(b'*'))) };
        let len = count.checked_mul(each).ok_or_else(|| unexpected(line))?;
        let items = Items { items: Vec::new(), len };
        if len == 0 {
            return Ok(Some(Reply::Items(kind, items)));
        }
        if self.open.len() == DEPTH_MAX {
            return Err(Malformed(format!("nested deeper than {DEPTH_MAX}")));
        }
        self.open.push(Open { kind, left: len, items });
        Ok(None)
    }

    /// Puts a value into the container that is open; returns the outermost one when it is full.
    fn add(&mut self, mut value: Reply) -> Option<Reply> {
        loop {
            // An attribute is about the value after it and takes no place of its own.
            if let Reply::Items(Kind::Attribute, _) = value {
                return None;
            }
            let Some(open) = self.open.last_mut() else { return Some(value) };
            if self.kept < self.limits.values {
                self.kept += 1;
                open.items.items.push(value);
            }
            open.left -= 1;
            if open.left > 0 {
                return None;
            }
            let Open { kind, items, .. } = self.open.pop()?;
            value = Reply::Items(kind, items);
        }
    }
}

fn number(line: &[u8]) -> Result<i64, Malformed> {
    let digits = line.get(1..).and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| unexpected(line))
}

fn unexpected(line: &[u8]) -> Malformed {
    Malformed(format!("`{}`", crate::redis::printable_arg(line)))
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::resp::{encode, one_line};

    const WIDE: Limits = Limits { text: 1 << 20, values: 10_000 };

    /// All values in `pieces`, and the bytes that each took.
    fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: Limits) -> Vec<Reply> {
        let mut scanner = Scanner::new(limits);
        let mut values = Vec::new();
        for mut piece in pieces {
            while !piece.is_empty() {
                let (taken, value) = scanner.feed(piece).unwrap();
                values.extend(value);
                piece = &piece[taken..];
            }
        }
        values
    }

    const STREAM: &[u8] = b"+OK\r\n-ERR no\r\n:-42\r\n$-1\r\n*-1\r\n_\r\n$0\r\n\r\n$5\r\na\r\n\xffb\r\n*0\r\n\
        *3\r\n:1\r\n*2\r\n$1\r\na\r\n$-1\r\n+x\r\n%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n,1.5\r\n~2\r\n#t\r\n#f\r\n\
        >3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n=8\r\ntxt:some\r\n(12345678901234567890\r\n!7\r\nERR big\r\n\
        |1\r\n+ttl\r\n:3\r\n:7\r\n*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n:2\r\n%0\r\n";

    #[test]
    fn any_cut_of_the_stream_gives_the_same_values() {
        let whole = scan([STREAM], WIDE);
        assert_eq!(whole.len(), 19);
        assert_eq!(scan(STREAM.chunks(1), WIDE), whole);
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        for _ in 0..500 {
            let mut pieces = Vec::new();
            let mut rest = STREAM;
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rng.random_range(1..=rest.len().min(40)));
                pieces.push(piece);
                rest = after;
            }
            assert_eq!(scan(pieces, WIDE), whole);
        }
    }

    #[test]
    fn what_was_read_is_written_the_same() {
        let plain = STREAM.split(|&b| b == b'|').next().unwrap();
        let mut written = Vec::new();
        for value in scan([plain], WIDE) {
            encode(&value, &mut written);
        }
        let text = String::from_utf8_lossy(&written).replace("-ERR big\r\n", "!7\r\nERR big\r\n");
        assert_eq!(text, String::from_utf8_lossy(plain));
    }

    #[test]
    fn large_values_are_counted_and_not_kept() {
        let narrow = Limits { text: 4, values: 3 };
        let mut stream = b"$100000\r\n".to_vec();
        stream.extend(vec![b'x'; 100_000]);
        stream.extend(b"\r\n*1000\r\n");
        for _ in 0..1_000 {
            stream.extend(b"*1\r\n:1\r\n");
        }
        let values = scan(stream.chunks(777), narrow);
        assert_eq!(values[0], Reply::Bulk(Text { bytes: b"xxxx".to_vec(), len: 100_000 }));
        let Reply::Items(_, items) = &values[1] else { panic!("{:?}", values[1]) };
        assert_eq!((items.len, items.items.len()), (1_000, 1));
        assert_eq!(one_line(&values[0]), "\"xxxx…\"");
    }

    #[test]
    fn garbage_is_refused() {
        for wrong in
            [&b"\r\n"[..], b"?x\r\n", b":1x\r\n", b"$x\r\n", b"*99999999999999999999\r\n", b"GET / HTTP\r\n"]
        {
            assert!(Scanner::new(WIDE).feed(wrong).is_err(), "{wrong:?}");
        }
        assert!(Scanner::new(WIDE).feed(&b"*1\r\n".repeat(1_000)).is_err());
    }
}
