//! The nodes of a server: who owns which slot, and asking one of them something beside the load.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use chatlab_kit::slots::{SLOTS, slot};

use super::codec::{self, Parsed, Reply};

/// How long one answer to what is asked beside the load may take.
const ANSWER_BOUND: Duration = Duration::from_secs(5);
/// The most bytes of one such answer.
const ANSWER_MAX: usize = 16 << 20;

/// Nobody owns the slot as far as is known.
const NOBODY: u16 = u16::MAX;

/// One blocking connection.
#[derive(Debug)]
pub struct Admin {
    stream: TcpStream,
}

impl Admin {
    /// Connects to `HOST:PORT`.
    ///
    /// # Errors
    /// What the system says, with the address.
    pub fn connect(address: &str) -> io::Result<Self> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{address}: {e}"));
        dial(address, ANSWER_BOUND).and_then(Self::over).map_err(named)
    }

    /// On a connection that is there.
    pub(super) fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(ANSWER_BOUND))?;
        stream.set_write_timeout(Some(ANSWER_BOUND))?;
        Ok(Self { stream })
    }

    /// The connection, which is to have no answer under way.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Sends one command and reads its answer.
    ///
    /// # Errors
    /// What the system says, an answer that is no RESP, and the server's refusal.
    pub fn call<T>(&mut self, words: &[&str], read: impl FnOnce(Reply<'_>) -> T) -> io::Result<T> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let mut wire = Vec::new();
        codec::command(&mut wire, &words);
        self.stream.write_all(&wire)?;
        let mut input = Vec::new();
        let mut read = Some(read);
        self.read(&mut input, |reply| match reply {
            Reply::Error(text) => Err(io::Error::other(String::from_utf8_lossy(text).into_owned())),
            other => read.take().map(|read| read(other)).ok_or_else(|| io::Error::other("a second answer")),
        })
    }

    /// Sends what is ready-made and reads `count` answers; the first refusal is an error.
    ///
    /// # Errors
    /// As [`Admin::call`].
    pub fn batch(&mut self, wire: &[u8], count: usize) -> io::Result<()> {
        self.stream.write_all(wire)?;
        let mut input = Vec::new();
        for _ in 0..count {
            self.read(&mut input, |reply| match reply {
                Reply::Error(text) => Err(io::Error::other(String::from_utf8_lossy(text).into_owned())),
                _ => Ok(()),
            })?;
        }
        Ok(())
    }

    /// One answer; what follows it stays in `input`.
    fn read<T>(
        &mut self,
        input: &mut Vec<u8>,
        mut see: impl FnMut(Reply<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            match codec::parse(input).map_err(io::Error::other)? {
                Parsed::Whole { reply, taken } => {
                    let seen = see(reply);
                    input.drain(..taken);
                    return seen;
                }
                Parsed::Partial { .. } if input.len() > ANSWER_MAX => {
                    return Err(io::Error::other("the answer is too long"));
                }
                Parsed::Partial { .. } => match self.stream.read(&mut chunk)? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    n => input.extend_from_slice(&chunk[..n]),
                },
            }
        }
    }
}

/// Connects to `HOST:PORT` within a bound.
pub(super) fn dial(address: &str, bound: Duration) -> io::Result<TcpStream> {
    let target: SocketAddr = match address.parse() {
        Ok(target) => target,
        Err(_) => address.to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?,
    };
    let stream = TcpStream::connect_timeout(&target, bound)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Which node owns which slot; nodes are numbered in the order in which they became known.
#[derive(Clone, Debug)]
pub struct SlotMap {
    nodes: Vec<String>,
    owners: Vec<u16>,
}

impl SlotMap {
    /// One node that owns everything.
    pub fn single(node: &str) -> Self {
        Self { nodes: vec![node.to_owned()], owners: vec![0; usize::from(SLOTS)] }
    }

    /// Asks the first of `seeds` that answers `CLUSTER SLOTS`.
    ///
    /// # Errors
    /// What the last one said, when none answers.
    pub fn of_cluster(seeds: &[String]) -> io::Result<Self> {
        let mut last = io::Error::other("no node is given");
        for seed in seeds {
            let mut map = Self { nodes: Vec::new(), owners: vec![NOBODY; usize::from(SLOTS)] };
            let asked = Admin::connect(seed).and_then(|mut admin| {
                admin.call(&["CLUSTER", "SLOTS"], |reply| map.update(reply)).map(|known| (known, map))
            });
            match asked {
                Ok((true, map)) => return Ok(map),
                Ok((false, _)) => last = io::Error::other(format!("{seed} knows no owner of any slot")),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Takes in an answer to `CLUSTER SLOTS`; whether it named any owner.
    pub fn update(&mut self, reply: Reply<'_>) -> bool {
        let Reply::Items(ranges) = reply else { return false };
        let mut any = false;
        for range in ranges.iter() {
            let Reply::Items(range) = range else { continue };
            let mut parts = range.iter();
            let (Some(Reply::Int(first)), Some(Reply::Int(last)), Some(Reply::Items(master))) =
                (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let mut master = master.iter();
            let (Some(Reply::Bulk(host)), Some(Reply::Int(port))) = (master.next(), master.next()) else {
                continue;
            };
            let node = self.number(&format!("{}:{port}", String::from_utf8_lossy(host)));
            let (Ok(first), Ok(last)) = (usize::try_from(first), usize::try_from(last)) else { continue };
            if let Some(owners) = self.owners.get_mut(first..=last) {
                owners.fill(node);
                any = true;
            }
        }
        any
    }

    /// The number of a node, which becomes known by it.
    pub fn number(&mut self, address: &str) -> u16 {
        match self.nodes.iter().position(|known| known == address) {
            Some(at) => at as u16,
            None => {
                self.nodes.push(address.to_owned());
                (self.nodes.len() - 1) as u16
            }
        }
    }

    /// Notes a slot's owner, as a redirect tells it.
    pub fn set(&mut self, slot: u16, node: u16) {
        if let Some(owner) = self.owners.get_mut(usize::from(slot)) {
            *owner = node;
        }
    }

    /// The node of a slot; none when nobody is known to own it.
    pub fn owner(&self, slot: u16) -> Option<usize> {
        self.owners.get(usize::from(slot)).filter(|owner| **owner != NOBODY).map(|owner| usize::from(*owner))
    }

    /// All nodes that are known, by number.
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// The nodes that own slots.
    pub fn owners(&self) -> Vec<usize> {
        let mut owners: Vec<_> =
            self.owners.iter().filter(|o| **o != NOBODY).map(|o| usize::from(*o)).collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }
}

/// Where `MOVED 3999 127.0.0.1:6381` and `ASK …` point to: slot and node. A node that does not know its own name answers with
/// an empty host, which stands for the one that was asked.
pub(super) fn redirect(text: &[u8], asked: &str) -> Option<(u16, String)> {
    let text = std::str::from_utf8(text).ok()?;
    let mut words = text.split(' ').skip(1);
    let slot = words.next()?.parse().ok().filter(|slot| *slot < SLOTS)?;
    let address = words.next()?;
    match address.strip_prefix(':') {
        Some(port) => Some((slot, format!("{}:{port}", asked.rsplit_once(':')?.0))),
        None => Some((slot, address.to_owned())),
    }
}

/// Writes every key that a mix reads as a string, so that reads find something.
///
/// # Errors
/// When a node does not take it.
pub(super) fn fill(map: &SlotMap, keys: u64, value: &[u8]) -> io::Result<()> {
    /// Commands in one write.
    const BATCH: usize = 500;
    let mut nodes = Vec::new();
    for address in map.nodes() {
        nodes.push((Admin::connect(address)?, Vec::new(), 0));
    }
    for number in 0..keys {
        let key = super::commands::Op::Set.key(number);
        let node = map.owner(slot(key.as_bytes())).ok_or_else(|| io::Error::other("a slot has no owner"))?;
        let (admin, wire, count) = &mut nodes[node];
        codec::command(wire, &[b"SET", key.as_bytes(), value]);
        *count += 1;
        if *count == BATCH {
            admin.batch(wire, std::mem::take(count))?;
            wire.clear();
        }
    }
    nodes.iter_mut().try_for_each(|(admin, wire, count)| admin.batch(wire, *count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_name_slot_and_node() {
        let at = |text: &str| redirect(text.as_bytes(), "10.0.0.1:7000");
        assert_eq!(at("MOVED 3999 127.0.0.1:6381"), Some((3999, "127.0.0.1:6381".into())));
        assert_eq!(at("ASK 7 :6381"), Some((7, "10.0.0.1:6381".into())));
        for wrong in ["MOVED", "MOVED x y", "MOVED 16384 h:1"] {
            assert_eq!(at(wrong), None);
        }
    }

    #[test]
    fn slots_are_read_and_changed_one_by_one() {
        let mut map = SlotMap { nodes: Vec::new(), owners: vec![NOBODY; usize::from(SLOTS)] };
        let text = b"*2\r\n*3\r\n:0\r\n:8000\r\n*3\r\n$1\r\na\r\n:1\r\n$2\r\nid\r\n\
            *3\r\n:8001\r\n:16383\r\n*3\r\n$1\r\nb\r\n:2\r\n$2\r\nid\r\n";
        let Ok(Parsed::Whole { reply, .. }) = codec::parse(text) else { panic!() };
        assert!(map.update(reply));
        assert_eq!(map.nodes(), ["a:1", "b:2"]);
        assert_eq!([0, 8000, 8001, 16_383].map(|slot| map.owner(slot)), [Some(0), Some(0), Some(1), Some(1)]);
        let third = map.number("c:3");
        map.set(5, third);
        assert_eq!((map.owner(5), map.owners()), (Some(2), vec![0, 1, 2]));
        assert!(!map.update(Reply::Nil));
    }
}
