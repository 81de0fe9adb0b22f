//! Free ports for Redis nodes.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use rand::Rng;

use super::ServerError;

/// A cluster node listens on its port and on the cluster bus, this much above it.
pub(super) const BUS_OFFSET: u16 = 10_000;
/// Where nodes go. The bus port stays below 32,768, where Linux begins to hand out ports to outgoing connections: a node
/// above 22,767 sometimes finds its bus port taken by somebody's client.
const RANGE: Range<u16> = 10_000..22_000;
/// A node that speaks TLS too listens for it so much above its port.
pub(super) const TLS_OFFSET: u16 = 10;
/// Nodes of one topology get neighbouring ports that start at a multiple of this; what is above [`TLS_OFFSET`] is theirs too.
const STRIDE: u16 = 20;
/// How many places are looked at before giving up.
const ATTEMPTS: usize = 200;

/// Ports for the nodes of one topology.
#[derive(Debug)]
pub(super) struct Place {
    /// The ports, in the order of the nodes.
    pub(super) ports: Vec<u16>,
    /// Kept for as long as the place is: a node that was killed finds its port free when it is started again, although it listened
    /// on nothing meanwhile.
    _kept: Vec<Kept>,
}

/// Finds `count` (at most 10) free ports in a row. A process that is none of ours may still take one before the server does;
/// the server's own failure to bind is what counts, and the caller tries again then.
pub(super) fn free_ports(count: usize, with_bus: bool) -> Result<Place, ServerError> {
    let mut random = rand::rng();
    let places = (RANGE.end - RANGE.start) / STRIDE;
    for _ in 0..ATTEMPTS {
        let first = RANGE.start + STRIDE * random.random_range(0..places);
        // A bus port may be another place's port.
        let firsts = [Some(first), with_bus.then_some(first + BUS_OFFSET)];
        let Some(kept) = firsts.into_iter().flatten().map(keep).collect() else { continue };
        let ports: Vec<u16> = (first..first + TLS_OFFSET).take(count).collect();
        let free = |port: &u16| {
            is_free(*port) && is_free(*port + TLS_OFFSET) && (!with_bus || is_free(*port + BUS_OFFSET))
        };
        if ports.iter().all(free) {
            return Ok(Place { ports, _kept: kept });
        }
    }
    Err(ServerError::NoPorts { count, first: RANGE.start, end: RANGE.end })
}

/// A name that only one socket can have; the system gives it back when the process ends, however it ends.
#[cfg(target_os = "linux")]
type Kept = std::os::unix::net::UnixListener;
#[cfg(not(target_os = "linux"))]
type Kept = ();

/// Keeps the place that begins with this port from all processes of ours; none when one of them has it.
#[cfg(target_os = "linux")]
fn keep(first: u16) -> Option<Kept> {
    use std::os::linux::net::SocketAddrExt as _;
    let name = std::os::unix::net::SocketAddr::from_abstract_name(format!("chatlab-ports-{first}")).ok()?;
    Kept::bind_addr(&name).ok()
}

#[cfg(not(target_os = "linux"))]
fn keep(_first: u16) -> Option<Kept> {
    Some(())
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_neighbours_whose_bus_stays_below_the_ephemeral_range() {
        for _ in 0..20 {
            let Place { ports, .. } = free_ports(6, true).unwrap();
            assert_eq!(ports.len(), 6);
            assert!(ports.windows(2).all(|pair| pair[1] == pair[0] + 1));
            assert!(ports.iter().all(|port| RANGE.contains(port) && port + BUS_OFFSET < 32_768));
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn nobody_else_gets_a_place_before_it_is_given_back() {
        let place = free_ports(1, false).unwrap();
        let first = place.ports[0];
        assert!(is_free(first) && keep(first).is_none());
        drop(place);
        assert!(keep(first).is_some());
    }
}
