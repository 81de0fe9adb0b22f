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
/// Nodes of one topology get neighbouring ports that start at a multiple of this.
const STRIDE: u16 = 10;
/// How many places are looked at before giving up.
const ATTEMPTS: usize = 200;

/// Finds `count` (at most 10) free ports in a row. Another process may still take one before the server does; the
/// server's own failure to bind is what counts, and the caller tries again then.
pub(super) fn free_ports(count: usize, with_bus: bool) -> Result<Vec<u16>, ServerError> {
    let mut random = rand::rng();
    let places = (RANGE.end - RANGE.start) / STRIDE;
    for _ in 0..ATTEMPTS {
        let first = RANGE.start + STRIDE * random.random_range(0..places);
        let ports: Vec<u16> = (first..first + STRIDE).take(count).collect();
        let free = |port: &u16| is_free(*port) && (!with_bus || is_free(*port + BUS_OFFSET));
        if ports.iter().all(free) {
            return Ok(ports);
        }
    }
    Err(ServerError::NoPorts { count, first: RANGE.start, end: RANGE.end })
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
            let ports = free_ports(6, true).unwrap();
            assert_eq!(ports.len(), 6);
            assert!(ports.windows(2).all(|pair| pair[1] == pair[0] + 1));
            assert!(ports.iter().all(|port| RANGE.contains(port) && port + BUS_OFFSET < 32_768));
        }
    }
}
