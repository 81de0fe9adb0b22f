//! A blocking RESP2 client of a few lines, for setting servers up. Private: everything else goes through the handle.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// The longest that one command may take: set-up commands answer at once or never.
const IO_TIMEOUT: Duration = Duration::from_secs(2);
/// The most bytes in one reply: `CLUSTER NODES` and `INFO` are a few thousand.
const REPLY_MAX_BYTES: usize = 1 << 20;

/// What a command came to: its text, or the server's own error text.
pub(super) type Answer = Result<String, String>;

/// One connection to one server on loopback.
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(super) fn open(port: u16) -> std::io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, IO_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(IO_TIMEOUT))?;
        stream.set_write_timeout(Some(IO_TIMEOUT))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends one command and reads its one reply, which is a simple string, an integer or a bulk string.
    pub(super) fn call(&mut self, arguments: &[&str]) -> std::io::Result<Answer> {
        let mut frame = format!("*{}\r\n", arguments.len());
        for argument in arguments {
            frame.push_str(&format!("${}\r\n{argument}\r\n", argument.len()));
        }
        self.stream.get_mut().write_all(frame.as_bytes())?;
        read_reply(&mut self.stream)
    }
}

fn read_reply(input: &mut impl BufRead) -> std::io::Result<Answer> {
    let mut line = String::new();
    let read = input.by_ref().take(REPLY_MAX_BYTES as u64).read_line(&mut line)?;
    if read == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let line = line.trim_end();
    let malformed = || Error::new(ErrorKind::InvalidData, format!("unexpected reply `{line}`"));
    let rest = line.get(1..).unwrap_or_default();
    match line.as_bytes().first() {
        Some(b'+' | b':') => Ok(Ok(rest.to_owned())),
        Some(b'-') => Ok(Err(rest.to_owned())),
        Some(b'$') => {
            let length: usize = rest.parse().map_err(|_| malformed())?;
            if length > REPLY_MAX_BYTES {
                return Err(malformed());
            }
            let mut body = vec![0; length + 2];
            input.read_exact(&mut body)?;
            body.truncate(length);
            Ok(Ok(String::from_utf8_lossy(&body).into_owned()))
        }
        _ => Err(malformed()),
    }
}

/// The value of one `name:value` line of `INFO` or `CLUSTER INFO`.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &str) -> std::io::Result<Answer> {
        read_reply(&mut bytes.as_bytes())
    }

    #[test]
    fn the_replies_of_set_up_commands_are_read() {
        assert_eq!(read("+OK\r\n").unwrap(), Ok("OK".to_owned()));
        assert_eq!(read(":42\r\n").unwrap(), Ok("42".to_owned()));
        assert_eq!(read("$3\r\na\nb\r\n").unwrap(), Ok("a\nb".to_owned()));
        assert_eq!(read("-ERR no\r\n").unwrap(), Err("ERR no".to_owned()));
    }

    #[test]
    fn other_and_oversized_and_cut_replies_are_errors() {
        for bytes in ["*1\r\n", "$99999999\r\n", "$5\r\nab", "", "hello\r\n", "$-1\r\n"] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let info = "# Server\r\nprocess_id:12\r\nprocess_id_x:13\r\n";
        assert_eq!(field(info, "process_id"), Some("12"));
        assert_eq!(field(info, "process"), None);
    }
}
