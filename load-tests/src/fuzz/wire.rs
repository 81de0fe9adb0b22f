//! One TCP connection as bytes: what is written, and what is heard meanwhile.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Instant, timeout, timeout_at},
};

use super::heard::{Dialect, Ear, Heard};

/// How long one write may take before the other side counts as stuck.
const WRITE_BOUND: Duration = Duration::from_secs(5);
/// How long a flood is pressed against a full socket.
const FLOOD_BOUND: Duration = Duration::from_millis(500);
/// The most that is kept of what one connection was heard to say.
const MAX_HEARD: usize = 20_000;

/// How the other side went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It closed its half.
    Eof,
    /// It broke off.
    Reset,
}

pub(super) struct Wire {
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    ear: Ear,
    /// What was heard, in order; of very much only the later part, and all that a server must not say.
    pub heard: Vec<Heard>,
    /// None while the other side is there.
    pub ending: Option<Ending>,
    /// Bytes written.
    pub sent: u64,
}

impl Wire {
    pub(super) async fn open(server: SocketAddr, dialect: Dialect) -> io::Result<Self> {
        let socket = if server.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        let stream = timeout(WRITE_BOUND, socket.connect(server)).await??;
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        Ok(Self { read, write, ear: Ear::new(dialect), heard: Vec::new(), ending: None, sent: 0 })
    }

    /// Writes all of it, and hears what comes meanwhile. False when the other side takes no more.
    pub(super) async fn put(&mut self, bytes: &[u8]) -> bool {
        let deadline = Instant::now() + WRITE_BOUND;
        let (mut at, mut buffer) = (0, [0; 4096]);
        while at < bytes.len() && self.ending != Some(Ending::Reset) {
            let hearing = self.ending.is_none();
            let turn = async {
                tokio::select! {
                    wrote = self.write.write(&bytes[at..]) => Turn::Wrote(wrote),
                    got = self.read.read(&mut buffer), if hearing => Turn::Got(got),
                }
            };
            match timeout_at(deadline, turn).await {
                Ok(Turn::Wrote(Ok(n))) => at += n,
                Ok(Turn::Wrote(Err(_))) => return false,
                Ok(Turn::Got(got)) => self.take_in(&got, &buffer),
                Err(_) => return false,
            }
        }
        self.sent += at as u64;
        at == bytes.len()
    }

    /// Writes the same again and again and hears nothing, until that is done or the socket stays full.
    pub(super) async fn flood(&mut self, bytes: &[u8], times: u32) {
        // In larger pieces, or the system calls are what takes the time.
        let at_once = (16_384 / bytes.len().max(1)).max(1) as u32;
        let piece = bytes.repeat(at_once.min(times) as usize);
        let mut left = bytes.len() * times as usize;
        while left > 0 {
            let part = &piece[..piece.len().min(left)];
            match timeout(FLOOD_BOUND, self.write.write(part)).await {
                Ok(Ok(n)) => (left, self.sent) = (left - n, self.sent + n as u64),
                // What was begun is an unfinished frame then.
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }

    /// Hears until `done`, the end, or the deadline; whether it is done.
    pub(super) async fn hear(&mut self, deadline: Instant, done: impl Fn(&[Heard]) -> bool) -> bool {
        let mut buffer = [0; 4096];
        loop {
            if done(&self.heard) {
                return true;
            }
            if self.ending.is_some() {
                return false;
            }
            match timeout_at(deadline, self.read.read(&mut buffer)).await {
                Ok(got) => self.take_in(&got, &buffer),
                Err(_) => return false,
            }
        }
    }

    /// Hears until nothing has come for so long, at most ten times as long.
    pub(super) async fn listen(&mut self, quiet: Duration) {
        let last = Instant::now() + quiet * 10;
        let mut buffer = [0; 4096];
        while self.ending.is_none() {
            match timeout_at((Instant::now() + quiet).min(last), self.read.read(&mut buffer)).await {
                Ok(got) => self.take_in(&got, &buffer),
                Err(_) => return,
            }
        }
    }

    fn take_in(&mut self, got: &io::Result<usize>, buffer: &[u8]) {
        match got {
            Ok(0) => self.ending = Some(Ending::Eof),
            Ok(n) => {
                self.ear.take_in(&buffer[..*n], &mut self.heard);
                self.forget_early();
            }
            Err(_) => self.ending = Some(Ending::Reset),
        }
    }

    /// Of very much the earlier half goes, as far as nothing was wrong about it.
    fn forget_early(&mut self) {
        if self.heard.len() > MAX_HEARD {
            let later = self.heard.split_off(MAX_HEARD / 2);
            self.heard.retain(|heard| !heard.is_ordinary());
            self.heard.extend(later);
        }
    }

    /// Closes our half.
    pub(super) async fn half_close(&mut self) {
        let _ = self.write.shutdown().await;
    }

    /// Makes dropping it a reset.
    pub(super) fn to_be_reset(&self) {
        let stream: &TcpStream = self.read.as_ref();
        // Only then nothing is waited for, by anybody.
        let _ = stream.set_zero_linger();
    }
}

enum Turn {
    Wrote(io::Result<usize>),
    Got(io::Result<usize>),
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_last_of_very_much_is_heard_and_the_first_word_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let pongs = b"\x8a\x01a".repeat(3 * MAX_HEARD);
            let words = [b"HTTP/1.1 101 Switching Protocols\r\n\r\n", &pongs[..], b"\x8a\x01z"].concat();
            socket.write_all(&words).await.unwrap();
            // Until the other side has heard it all.
            let _ = socket.read(&mut [0]).await;
        });
        let mut wire = Wire::open(server, Dialect::Native).await.unwrap();
        let last = Heard::Pong(b"z".to_vec());
        let deadline = Instant::now() + Duration::from_secs(20);
        assert!(wire.hear(deadline, |heard| heard.last() == Some(&last)).await, "{:?}", wire.heard.last());
        assert!(matches!(wire.heard[0], Heard::Status { status: 101, .. }));
        assert!(wire.heard.len() <= MAX_HEARD);
    }
}
