//! One connection of the lean client: bytes in, bytes out, and what is under way.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::TcpStream,
};

use super::{
    codec::{self, Malformed, Parsed, Reply},
    commands::Op,
    keys::Dice,
};

/// What one read takes at most, and the least size of an input buffer.
const READ: usize = 32 * 1024;

/// What an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A command of the mix.
    Op(Op),
    /// `ASKING`, before a command that was redirected.
    Asking,
    /// `CLUSTER SLOTS`.
    Slots,
}

/// A command that has no answer yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub what: What,
    /// How often it was redirected.
    pub redirected: u8,
    /// Whether it was due in the window.
    pub measured: bool,
    /// Of its channel, where it publishes.
    pub number: u32,
    /// Number of its key or channel.
    pub key: u64,
    /// Draws its member.
    pub dice: Dice,
    pub intended_ns: u64,
    pub sent_ns: u64,
}

/// Bytes that came and were not understood yet.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
    need: usize,
}

impl Input {
    /// Reads once; how many bytes, 0 at the end of the stream.
    pub fn fill(&mut self, stream: &TcpStream) -> io::Result<usize> {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        } else if self.from > 0 && self.bytes.len() - self.to < READ / 2 {
            self.bytes.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        let room = (self.from + self.need).max(self.to + READ / 2).max(READ);
        if self.bytes.len() < room {
            self.bytes.resize(room, 0);
        }
        let mut stream = stream;
        let got = stream.read(&mut self.bytes[self.to..])?;
        self.to += got;
        Ok(got)
    }

    /// The next value that is whole.
    pub fn next(&mut self) -> Result<Option<Reply<'_>>, Malformed> {
        let have = self.to - self.from;
        if have == 0 || have < self.need {
            return Ok(None);
        }
        match codec::parse(&self.bytes[self.from..self.to])? {
            Parsed::Whole { reply, taken } => {
                self.from += taken;
                self.need = 0;
                Ok(Some(reply))
            }
            Parsed::Partial { at_least } => {
                self.need = at_least;
                Ok(None)
            }
        }
    }
}

/// One connection to one node.
#[derive(Debug)]
pub(super) struct Conn {
    pub stream: TcpStream,
    pub input: Input,
    /// What is to be written, and from where on.
    pub out: Vec<u8>,
    written: usize,
    /// In the order in which answers come.
    pub pending: VecDeque<Pending>,
    /// Beyond the depth that is allowed.
    pub waiting: VecDeque<Pending>,
    /// Whether it is on the list of those to flush.
    pub dirty: bool,
    /// Whether the kernel takes no more for now.
    pub blocked: bool,
}

impl Conn {
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            input: Input::default(),
            out: Vec::with_capacity(READ),
            written: 0,
            pending: VecDeque::new(),
            waiting: VecDeque::new(),
            dirty: false,
            blocked: false,
        })
    }

    /// Writes what there is, as far as the kernel takes it; whether that was all.
    pub fn flush(&mut self) -> io::Result<bool> {
        while self.written < self.out.len() {
            match (&self.stream).write(&self.out[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.written += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn values_come_out_whole_however_the_bytes_come_in() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        theirs.set_nodelay(true).unwrap();
        let big = [b"$100000\r\n".to_vec(), vec![b'x'; 100_000], b"\r\n".to_vec()].concat();
        let stream = [b"+OK\r\n:7\r\n".to_vec(), big, b"$-1\r\n".to_vec()].concat();
        let wrote = std::thread::spawn(move || {
            for piece in stream.chunks(777) {
                theirs.write_all(piece).unwrap();
            }
            theirs
        });
        let mut input = Input::default();
        let mut seen = Vec::new();
        while seen.len() < 4 {
            assert!(input.fill(&ours).unwrap() > 0);
            while let Some(reply) = input.next().unwrap() {
                seen.push(match reply {
                    Reply::Bulk(text) => format!("{} bytes", text.len()),
                    other => format!("{other:?}"),
                });
            }
        }
        assert_eq!(seen[1..], ["Int(7)", "100000 bytes", "Nil"]);
        drop(wrote.join().unwrap());
        assert_eq!(input.fill(&ours).unwrap(), 0);
    }
}
