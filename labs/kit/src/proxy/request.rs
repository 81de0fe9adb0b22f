//! What a client sends, cut into commands.

use crate::redis::{ARG_PRINT_BYTES, printable_arg};
use crate::resp::{Kind, Limits, Reply, Scanner};
use crate::steps::words_bytes;

use super::FRAME_BYTES_MAX;

/// The longest inline command, as in Redis.
const INLINE_BYTES_MAX: usize = 64 * 1024;
/// The most arguments of a command that are kept.
const ARGS_MAX: usize = 1_000;
/// The most arguments that are shown.
const ARGS_SHOWN: usize = 200;

/// A command as far as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// The first arguments, each cut just above what is printed.
    pub(super) args: Vec<Vec<u8>>,
    /// How many there are.
    pub(super) count: usize,
    /// On the wire.
    pub(super) bytes: u64,
}

impl Request {
    /// The argument in capitals, empty where there is none.
    pub(super) fn upper(&self, index: usize) -> String {
        self.args.get(index).map(|arg| String::from_utf8_lossy(arg).to_ascii_uppercase()).unwrap_or_default()
    }

    pub(super) fn printable(&self) -> Vec<String> {
        let mut shown: Vec<_> = self.args.iter().take(ARGS_SHOWN).map(|arg| printable_arg(arg)).collect();
        if self.count > shown.len() {
            shown.push(format!("… {} more", self.count - shown.len()));
        }
        shown
    }
}

/// Bytes for the server; the last of a command with the command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) bytes: Vec<u8>,
    pub(super) request: Option<Request>,
}

/// Cuts what a client sends.
#[derive(Debug)]
pub(super) struct Requests {
    state: State,
    buffer: Vec<u8>,
    /// Of the command that is being read, buffered or not.
    bytes: u64,
}

#[derive(Debug)]
enum State {
    Start,
    Framed(Box<Scanner>),
    Inline(Vec<u8>),
    /// No RESP was sent: the server will say so and close.
    Lost,
}

impl Requests {
    pub(super) fn new() -> Self {
        Self { state: State::Start, buffer: Vec::new(), bytes: 0 }
    }

    /// Whether a command has begun and is not complete.
    pub(super) fn midway(&self) -> bool {
        !matches!(self.state, State::Start)
    }

    pub(super) fn feed(&mut self, mut input: &[u8]) -> Vec<Segment> {
        let mut segments = Vec::new();
        while let Some(&first) = input.first() {
            let (taken, args) = match &mut self.state {
                State::Start => {
                    self.state = if first == b'*' {
                        let limits = Limits { text: ARG_PRINT_BYTES + 1, values: ARGS_MAX };
                        State::Framed(Box::new(Scanner::new(limits)))
                    } else {
                        State::Inline(Vec::new())
                    };
                    continue;
                }
                State::Framed(scanner) => match scanner.feed(input) {
                    Ok((taken, value)) => (taken, value.map(arguments)),
                    Err(error) => {
                        tracing::debug!(%error, "proxy: what a client sent");
                        self.state = State::Lost;
                        continue;
                    }
                },
                State::Inline(line) => {
                    let end = input.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
                    let taken = end.unwrap_or(input.len());
                    line.extend_from_slice(&input[..taken]);
                    if line.len() > INLINE_BYTES_MAX {
                        self.state = State::Lost;
                        continue;
                    }
                    (taken, end.map(|_| inline(line)))
                }
                State::Lost => (input.len(), None),
            };
            self.buffer.extend_from_slice(&input[..taken]);
            self.bytes += taken as u64;
            input = &input[taken..];
            if let Some((args, count)) = args {
                self.state = State::Start;
                let bytes = std::mem::take(&mut self.bytes);
                let request = (count > 0).then_some(Request { args, count, bytes });
                segments.push(Segment { bytes: std::mem::take(&mut self.buffer), request });
            } else if self.buffer.len() > FRAME_BYTES_MAX || matches!(self.state, State::Lost) {
                segments.push(Segment { bytes: std::mem::take(&mut self.buffer), request: None });
            }
        }
        segments
    }
}

fn arguments(value: Reply) -> (Vec<Vec<u8>>, usize) {
    let Reply::Items(Kind::Array, items) = value else { return (Vec::new(), 0) };
    let args = items.items.iter().map(|item| item.text().unwrap_or_default().to_vec()).collect();
    (args, items.len)
}

/// Wrong quotes are the server's to complain about; the command is shown as typed.
fn inline(line: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let line = String::from_utf8_lossy(line);
    let mut args = words_bytes(&line).unwrap_or_else(|_| vec![line.trim().as_bytes().to_vec()]);
    for arg in &mut args {
        arg.truncate(ARG_PRINT_BYTES + 1);
    }
    let count = args.len();
    args.truncate(ARGS_MAX);
    (args, count)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn any_cut_gives_the_same_commands_and_loses_no_byte() {
        let mut stream = b"*1\r\n$4\r\nPING\r\nSET a \"b c\"\r\n\r\n*0\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$7\r\na\r\nb\xff\0z\r\n".to_vec();
        let long = vec![b'x'; FRAME_BYTES_MAX + 7];
        stream.extend(crate::resp::command(&[&b"SET"[..], b"big", &long]));
        stream.extend(b"get x\nQUIT\r\n");
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let mut first: Option<Vec<Request>> = None;
        for round in 0..60 {
            let mut requests = Requests::new();
            let mut segments = Vec::new();
            let mut rest = stream.as_slice();
            while !rest.is_empty() {
                let most = if round % 2 == 0 { 50_000 } else { 400_000 };
                let (piece, after) = rest.split_at(rng.random_range(1..=rest.len().min(most)));
                segments.extend(requests.feed(piece));
                rest = after;
            }
            assert!(!requests.midway());
            let bytes: Vec<u8> = segments.iter().flat_map(|s| s.bytes.clone()).collect();
            assert_eq!(bytes, stream);
            let commands: Vec<_> = segments.into_iter().filter_map(|s| s.request).collect();
            assert_eq!(
                commands.iter().map(|c| c.upper(0)).collect::<Vec<_>>().join(" "),
                "PING SET SET SET GET QUIT"
            );
            assert_eq!(commands[1].args[2], b"b c");
            assert_eq!(commands[2].printable()[2], "a\\r\\nb\\xff\\x00z");
            assert!(commands[3].printable()[2].ends_with("x…") && commands[3].bytes > long.len() as u64);
            assert_eq!(*first.get_or_insert_with(|| commands.clone()), commands);
        }
    }

    #[test]
    fn what_is_no_resp_passes_through() {
        let mut requests = Requests::new();
        let segments = requests.feed(b"*x\r\nwhatever");
        assert_eq!(segments.concat_bytes(), b"*x\r\nwhatever");
        assert_eq!(requests.feed(b" more").concat_bytes(), b" more");
    }

    trait Concat {
        fn concat_bytes(&self) -> Vec<u8>;
    }

    impl Concat for Vec<Segment> {
        fn concat_bytes(&self) -> Vec<u8> {
            self.iter().flat_map(|segment| segment.bytes.clone()).collect()
        }
    }
}
