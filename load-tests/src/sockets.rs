//! What the kernel holds for the TCP sockets of single processes and ports, from its `sock_diag` interface.
//!
//! A look costs some microseconds a socket, 50 ms of one core with 20,000 of them: it belongs after a window, not into it.
//! Where the system does not tell, everything is `None`.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Sockets together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sockets {
    /// How many, listening ones included.
    pub count: u64,
    /// What is allocated for them, in bytes: received and not yet read, sent and not yet acknowledged, and held ready for more.
    pub bytes: u64,
}

impl AddAssign for Sockets {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.bytes += other.bytes;
    }
}

/// All TCP sockets of this network, at one instant.
#[derive(Debug)]
pub struct Look {
    sockets: Vec<One>,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
struct One {
    inode: u32,
    own_port: u16,
    peer_port: u16,
    bytes: u64,
}

impl Look {
    /// Now; none where the system does not tell.
    pub fn now() -> Option<Self> {
        imp::dump().ok().map(|sockets| Self { sockets })
    }

    /// Those of some processes; none when there are no processes or one can't be looked into.
    pub fn of(&self, pids: &[u32]) -> Option<Sockets> {
        let mut inodes = std::collections::HashSet::new();
        for pid in pids {
            inodes.extend(imp::inodes(*pid)?);
        }
        (!pids.is_empty()).then(|| self.sum(|one| inodes.contains(&one.inode)))
    }

    /// Those that have a port of this machine as their own: a server's.
    pub fn at(&self, port: u16) -> Sockets {
        self.sum(|one| one.own_port == port)
    }

    /// What is allocated for the end at `own` of the connection with the other end at `peer`, in bytes; none without one.
    pub fn between(&self, own: u16, peer: u16) -> Option<u64> {
        let found = self.sum(|one| one.own_port == own && one.peer_port == peer);
        (found.count > 0).then_some(found.bytes)
    }

    fn sum(&self, is_one: impl Fn(&One) -> bool) -> Sockets {
        let mut sum = Sockets::default();
        for one in self.sockets.iter().filter(|one| is_one(one)) {
            sum += Sockets { count: 1, bytes: one.bytes };
        }
        sum
    }
}

#[cfg(target_os = "linux")]
mod imp {
    use std::{fs, io};

    use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
    use netlink_packet_sock_diag::{
        AF_INET, AF_INET6, IPPROTO_TCP, SockDiagMessage,
        inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla},
    };
    use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};

    use super::One;

    /// The most answers to one question: far more than there are ports.
    const MAX_DATAGRAMS: usize = 1 << 20;

    pub fn dump() -> io::Result<Vec<One>> {
        let mut found = Vec::new();
        for family in [AF_INET, AF_INET6] {
            ask(family, &mut found)?;
        }
        Ok(found)
    }

    fn ask(family: u8, found: &mut Vec<One>) -> io::Result<()> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let question = SockDiagMessage::InetRequest(InetRequest {
            family,
            protocol: IPPROTO_TCP,
            extensions: ExtensionFlags::SKMEMINFO,
            states: StateFlags::all(),
            socket_id: if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() },
        });
        let mut question = NetlinkMessage::new(header, question.into());
        question.finalize();
        let mut bytes = vec![0; question.buffer_len()];
        question.serialize(&mut bytes);
        socket.send(&bytes, 0)?;
        for _ in 0..MAX_DATAGRAMS {
            let (datagram, _) = socket.recv_from_full()?;
            if !take_in(&datagram, found)? {
                return Ok(());
            }
        }
        Err(io::Error::other("the kernel's answer does not end"))
    }

    /// False after the last one.
    fn take_in(mut datagram: &[u8], found: &mut Vec<One>) -> io::Result<bool> {
        while !datagram.is_empty() {
            let message =
                NetlinkMessage::<SockDiagMessage>::deserialize(datagram).map_err(io::Error::other)?;
            let length = message.header.length as usize;
            match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(socket)) => {
                    let (header, bytes) = (&socket.header, bytes(&socket));
                    let (own_port, peer_port) =
                        (header.socket_id.source_port, header.socket_id.destination_port);
                    found.push(One { inode: header.inode, own_port, peer_port, bytes });
                }
                NetlinkPayload::Done(_) => return Ok(false),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            // Each message begins at a multiple of 4 bytes.
            datagram = datagram.get(length.next_multiple_of(4)..).filter(|_| length > 0).unwrap_or_default();
        }
        Ok(true)
    }

    fn bytes(socket: &InetResponse) -> u64 {
        let memory = socket.nlas.iter().find_map(|nla| match nla {
            Nla::MemInfo(memory) => Some(memory),
            _ => None,
        });
        memory.map_or(0, |m| {
            [m.receive_queue, m.send_queue, m.cache, m.options].into_iter().map(u64::from).sum()
        })
    }

    pub fn inodes(pid: u32) -> Option<Vec<u32>> {
        let of = |entry: fs::DirEntry| {
            let target = fs::read_link(entry.path()).ok()?;
            target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        };
        Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten().filter_map(of).collect())
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    pub fn dump() -> std::io::Result<Vec<super::One>> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    pub fn inodes(_: u32) -> Option<Vec<u32>> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        io::Write,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn what_a_process_has_not_read_is_seen_at_its_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (_unread, _) = listener.accept().unwrap();
        let before = Look::now().unwrap().at(port);
        assert_eq!(before.count, 2, "the listener and what it accepted");
        client.write_all(&[7; 40_000]).unwrap();
        let look = Look::now().unwrap();
        let after = look.at(port);
        assert!(after.bytes >= before.bytes + 40_000, "{before:?} {after:?}");
        let peer = client.local_addr().unwrap().port();
        assert!(look.between(port, peer).unwrap() >= 40_000 && look.between(peer, port).unwrap() < 40_000);
        assert_eq!(look.between(port, 1), None);
        // Other tests of this process open and close sockets meanwhile.
        let own = look.of(&[std::process::id()]).unwrap();
        assert!(own.count >= 3 && own.bytes >= after.bytes, "{own:?} {after:?}");
    }

    #[test]
    fn what_is_not_known_is_none() {
        let look = Look::now().unwrap();
        assert_eq!(look.of(&[]), None);
        assert_eq!(look.of(&[u32::MAX]), None);
        assert_eq!(look.at(1), Sockets::default());
    }
}
