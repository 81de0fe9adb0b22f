//! RESP2 and RESP3 for a generator: commands are appended to one buffer, replies are read where they lie.
//!
//! Nothing is allocated: a [`Reply`] borrows from the input. A reply that is not whole yet says how many bytes it takes at
//! least, so that a large one is not looked at again for every piece of it that comes. After the Redis serialization
//! protocol specification (redis.io, `reference/protocol-spec`).

pub use super::encode::command;

/// The longest line: a header, a simple string, an error.
const LINE_MAX: usize = 64 * 1024;
/// The longest string, the server's own bound (`proto-max-bulk-len`).
const BULK_MAX: usize = 512 * 1024 * 1024;
/// The most items of one aggregate.
const ITEMS_MAX: usize = 1 << 20;
/// The deepest nesting.
const DEPTH_MAX: usize = 8;

/// This is no RESP, or more of it than is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no RESP: {0}")]
pub struct Malformed(&'static str);

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// `+OK`
    Simple(&'a [u8]),
    /// `-ERR …`, or RESP3's long error, without the announcing byte.
    Error(&'a [u8]),
    /// `:1`
    Int(i64),
    /// `$3`, or RESP3's verbatim text with its three letters and colon.
    Bulk(&'a [u8]),
    /// `$-1`, `*-1` or `_`.
    Nil,
    /// RESP3's `,1.5`, `#t` and `(123`: the announcing byte and what follows it.
    Scalar(u8, &'a [u8]),
    /// An array, set, push or map.
    Items(Items<'a>),
}

/// The items of an aggregate that is whole; a map's keys and values alternate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Items<'a> {
    /// `*`, `~`, `>` or `%`.
    pub sigil: u8,
    len: usize,
    body: &'a [u8],
}

impl<'a> Items<'a> {
    /// How many; of a map, keys and values together.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The items in order.
    pub fn iter(&self) -> impl Iterator<Item = Reply<'a>> + use<'a> {
        let (mut rest, mut left) = (self.body, self.len);
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            match parse(rest) {
                Ok(Parsed::Whole { reply, taken }) => {
                    rest = &rest[taken..];
                    Some(reply)
                }
                _ => None,
            }
        })
    }
}

/// What the start of a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A value, and how many bytes it took.
    Whole {
        /// The value.
        reply: Reply<'a>,
        /// Its length on the wire.
        taken: usize,
    },
    /// Not all of a value: it ends no earlier than after so many bytes.
    Partial {
        /// Counted from the buffer's start.
        at_least: usize,
    },
}

/// What a line announces.
enum Head<'a> {
    Value(Reply<'a>),
    Body { sigil: u8, len: usize },
    Open { sigil: u8, len: usize },
}

/// Either a result, or how many bytes are needed to get further.
enum Step<T> {
    Done(T),
    Need(usize),
}

/// Reads the value that `input` begins with.
///
/// # Errors
/// [`Malformed`] when that is no RESP, or beyond the bounds of this module.
pub fn parse(input: &[u8]) -> Result<Parsed<'_>, Malformed> {
    let mut at = 0;
    loop {
        let (head, after) = match head(input, at)? {
            Step::Done(found) => found,
            Step::Need(at_least) => return Ok(Parsed::Partial { at_least }),
        };
        let (reply, taken) = match head {
            Head::Value(reply) => (reply, after),
            Head::Body { sigil, len } => {
                let end = after + len + 2;
                if input.len() < end {
                    return Ok(Parsed::Partial { at_least: end });
                }
                (body(input, sigil, after, len)?, end)
            }
            Head::Open { sigil, len } => match skip(input, after, len, 1)? {
                Step::Done(end) if sigil == b'|' => {
                    // An attribute is about the value after it.
                    at = end;
                    continue;
                }
                Step::Done(end) => (Reply::Items(Items { sigil, len, body: &input[after..end] }), end),
                Step::Need(at_least) => return Ok(Parsed::Partial { at_least }),
            },
        };
        return Ok(Parsed::Whole { reply, taken });
    }
}

/// Where `count` values end that begin at `at`.
fn skip(input: &[u8], mut at: usize, count: usize, depth: usize) -> Result<Step<usize>, Malformed> {
    if depth > DEPTH_MAX {
        return Err(Malformed("nested too deeply"));
    }
    let mut left = count;
    while left > 0 {
        let (head, after) = match head(input, at)? {
            Step::Done(found) => found,
            // Each value that is still to come takes three bytes at least.
            Step::Need(at_least) => return Ok(Step::Need(at_least + 3 * (left - 1))),
        };
        left -= 1;
        at = match head {
            Head::Value(_) => after,
            Head::Body { sigil, len } => {
                let end = after + len + 2;
                if input.len() < end {
                    return Ok(Step::Need(end + 3 * left));
                }
                body(input, sigil, after, len)?;
                end
            }
            Head::Open { sigil, len } => match skip(input, after, len, depth + 1)? {
                Step::Done(end) => {
                    if sigil == b'|' {
                        left += 1;
                    }
                    end
                }
                Step::Need(at_least) => return Ok(Step::Need(at_least + 3 * left)),
            },
        };
    }
    Ok(Step::Done(at))
}

fn body(input: &[u8], sigil: u8, from: usize, len: usize) -> Result<Reply<'_>, Malformed> {
    if &input[from + len..from + len + 2] != b"\r\n" {
        return Err(Malformed("a string without its end"));
    }
    let text = &input[from..from + len];
    Ok(if sigil == b'!' { Reply::Error(text) } else { Reply::Bulk(text) })
}

/// The line at `at`, understood, and where it ends.
fn head(input: &[u8], at: usize) -> Result<Step<(Head<'_>, usize)>, Malformed> {
    let rest = input.get(at..).unwrap_or_default();
    let Some(end) = rest.iter().position(|byte| *byte == b'\r') else {
        if rest.len() > LINE_MAX {
            return Err(Malformed("a line that does not end"));
        }
        // The shortest value is `_\r\n`.
        return Ok(Step::Need(at + (rest.len() + 1).max(3)));
    };
    match rest.get(end + 1) {
        Some(b'\n') => {}
        Some(_) => return Err(Malformed("a carriage return in a line")),
        None => return Ok(Step::Need(at + end + 2)),
    }
    let after = at + end + 2;
    let Some((&sigil, text)) = rest[..end].split_first() else { return Err(Malformed("an empty line")) };
    let found = match sigil {
        b'+' => Head::Value(Reply::Simple(text)),
        b'-' => Head::Value(Reply::Error(text)),
        b':' => Head::Value(Reply::Int(number(text)?)),
        b'_' => Head::Value(Reply::Nil),
        b',' | b'#' | b'(' => Head::Value(Reply::Scalar(sigil, text)),
        b'$' | b'=' | b'!' => match length(text, BULK_MAX)? {
            Some(len) => Head::Body { sigil, len },
            None => Head::Value(Reply::Nil),
        },
        b'*' | b'~' | b'>' => match length(text, ITEMS_MAX)? {
            Some(len) => Head::Open { sigil, len },
            None => Head::Value(Reply::Nil),
        },
        b'%' | b'|' => match length(text, ITEMS_MAX)? {
            Some(len) => Head::Open { sigil, len: 2 * len },
            None => Head::Value(Reply::Nil),
        },
        _ => return Err(Malformed("an unknown first byte")),
    };
    Ok(Step::Done((found, after)))
}

/// None stands for -1.
fn length(text: &[u8], most: usize) -> Result<Option<usize>, Malformed> {
    match number(text)? {
        -1 => Ok(None),
        n => usize::try_from(n)
            .ok()
            .filter(|n| *n <= most)
            .map(Some)
            .ok_or(Malformed("a length out of bounds")),
    }
}

fn number(text: &[u8]) -> Result<i64, Malformed> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        Some((b'+', digits)) => (false, digits),
        _ => (false, text),
    };
    let wrong = Malformed("no number");
    if digits.is_empty() {
        return Err(wrong);
    }
    // Downwards, because i64::MIN has no positive counterpart.
    let down = digits.iter().try_fold(0i64, |value, digit| {
        let digit = i64::from(digit.checked_sub(b'0').filter(|digit| *digit <= 9)?);
        value.checked_mul(10)?.checked_sub(digit)
    });
    let down = down.ok_or(wrong)?;
    if negative { Ok(down) } else { down.checked_neg().ok_or(wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: &[&[u8]] = &[
        b"+OK\r\n",
        b"+\r\n",
        b"-MOVED 3999 127.0.0.1:6381\r\n",
        b":0\r\n",
        b":-9223372036854775808\r\n",
        b"$5\r\nhe\r\no\r\n",
        b"$0\r\n\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*3\r\n$7\r\nmessage\r\n$2\r\nc1\r\n$3\r\na\r\n\r\n",
        b"*2\r\n*2\r\n:1\r\n:2\r\n*1\r\n$-1\r\n",
        b"_\r\n",
        b"#t\r\n",
        b",1.5\r\n",
        b"(12345678901234567890\r\n",
        b"!9\r\nERR a\r\nbc\r\n",
        b"=7\r\ntxt:abc\r\n",
        b"%1\r\n+k\r\n:1\r\n",
        b"~2\r\n:1\r\n:2\r\n",
        b">2\r\n$4\r\npush\r\n_\r\n",
        b"|1\r\n+ttl\r\n:3\r\n$2\r\nhi\r\n",
        b"*2\r\n|1\r\n+ttl\r\n:3\r\n:1\r\n:2\r\n",
    ];

    fn whole(input: &[u8]) -> Reply<'_> {
        match parse(input).unwrap() {
            Parsed::Whole { reply, taken } => {
                assert_eq!(taken, input.len());
                reply
            }
            partial => panic!("{partial:?}"),
        }
    }

    #[test]
    fn every_kind_of_reply_is_read() {
        assert_eq!(whole(SAMPLES[0]), Reply::Simple(b"OK"));
        assert_eq!(whole(SAMPLES[2]), Reply::Error(b"MOVED 3999 127.0.0.1:6381"));
        assert_eq!(whole(SAMPLES[4]), Reply::Int(i64::MIN));
        assert_eq!(whole(SAMPLES[5]), Reply::Bulk(b"he\r\no"));
        assert_eq!([SAMPLES[7], SAMPLES[8], SAMPLES[12]].map(whole), [Reply::Nil; 3]);
        assert_eq!(whole(SAMPLES[16]), Reply::Error(b"ERR a\r\nbc"));
        assert_eq!(whole(SAMPLES[21]), Reply::Bulk(b"hi"));
        let Reply::Items(items) = whole(SAMPLES[10]) else { panic!() };
        let texts: Vec<_> = items.iter().collect();
        assert_eq!(texts, [Reply::Bulk(b"message"), Reply::Bulk(b"c1"), Reply::Bulk(b"a\r\n")]);
        let Reply::Items(nested) = whole(SAMPLES[11]) else { panic!() };
        assert_eq!((nested.len(), nested.iter().count()), (2, 2));
        let Reply::Items(with_attribute) = whole(SAMPLES[22]) else { panic!() };
        assert_eq!(with_attribute.iter().collect::<Vec<_>>(), [Reply::Int(1), Reply::Int(2)]);
    }

    #[test]
    fn split_at_every_byte_a_reply_is_partial_and_never_asks_for_too_much() {
        for sample in SAMPLES {
            for cut in 0..sample.len() {
                match parse(&sample[..cut]).unwrap() {
                    Parsed::Partial { at_least } => {
                        assert!(
                            cut < at_least && at_least <= sample.len(),
                            "{cut} of {sample:?}: {at_least}"
                        );
                    }
                    Parsed::Whole { .. } => panic!("{cut} of {sample:?}"),
                }
            }
            whole(sample);
        }
    }

    #[test]
    fn replies_follow_each_other_in_one_buffer() {
        let stream = SAMPLES.concat();
        let mut at = 0;
        for sample in SAMPLES {
            let Parsed::Whole { reply, taken } = parse(&stream[at..]).unwrap() else { panic!() };
            assert_eq!((taken, reply), (sample.len(), whole(sample)));
            at += taken;
        }
    }

    #[test]
    fn a_big_string_is_needed_whole_and_not_looked_at_before() {
        let mut big = b"$1048576\r\n".to_vec();
        assert_eq!(parse(&big).unwrap(), Parsed::Partial { at_least: 10 + 1_048_576 + 2 });
        big.resize(10 + 1_048_576, b'x');
        big.extend_from_slice(b"\r\n");
        assert!(matches!(whole(&big), Reply::Bulk(text) if text.len() == 1 << 20));
    }

    #[test]
    fn what_is_no_resp_or_beyond_bounds_is_refused() {
        let endless = [b"+".to_vec(), vec![b'x'; LINE_MAX + 1]].concat();
        let deep = b"*1\r\n".repeat(DEPTH_MAX + 2);
        let wrong: &[&[u8]] = &[
            b"hello\r\n",
            b"\r\n",
            b":\r\n",
            b":1x\r\n",
            b":9223372036854775808\r\n",
            b"$-2\r\n",
            b"$536870913\r\n",
            b"*1048577\r\n",
            b"$3\r\nabcdef\r\n",
            b"+a\rb\r\n",
            b"*1\r\n$1\r\nabc\r\n",
            &endless,
            &deep,
        ];
        for input in wrong {
            assert!(parse(input).is_err(), "{:?}", String::from_utf8_lossy(&input[..input.len().min(40)]));
        }
    }
}
