//! What servers have counted up to now: `INFO` of every node, and the kernel's memory for sockets.

use std::{collections::BTreeMap, fs, net::SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{
    resp::{codec::Reply, nodes::Admin},
    sockets::{Look, Sockets},
};

/// The sections that are read.
const SECTIONS: [&str; 6] = ["server", "replication", "cpu", "memory", "commandstats", "errorstats"];

/// One line of `INFO commandstats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandStat {
    /// Executed, also when they failed.
    pub calls: u64,
    /// Their time on the server's thread, in microseconds.
    pub usec: u64,
    /// Refused before they were executed, such as by a redirect.
    pub rejected: u64,
    /// Of the calls, those that ended in an error.
    pub failed: u64,
}

impl CommandStat {
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(earlier.calls),
            usec: self.usec.saturating_sub(earlier.usec),
            rejected: self.rejected.saturating_sub(earlier.rejected),
            failed: self.failed.saturating_sub(earlier.failed),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.usec += other.usec;
        self.rejected += other.rejected;
        self.failed += other.failed;
    }
}

/// One node at one instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeStat {
    /// Another one means: restarted.
    pub run_id: String,
    /// `master` or `slave`.
    pub role: String,
    /// User and system time of the process and its threads, in seconds.
    pub cpu_s: f64,
    /// Resident memory, in bytes.
    pub rss_bytes: u64,
    /// What the kernel holds for the sockets at its port; none when it is on another machine.
    pub sockets: Option<Sockets>,
    /// By command.
    pub commands: BTreeMap<String, CommandStat>,
    /// Errors by their first word.
    pub errors: BTreeMap<String, u64>,
}

impl NodeStat {
    /// Reads an answer to `INFO`.
    pub fn parse(info: &str) -> Self {
        let mut stat = Self::default();
        for (name, value) in info.lines().filter_map(|line| line.trim_end().split_once(':')) {
            match name {
                "run_id" => value.clone_into(&mut stat.run_id),
                "role" => value.clone_into(&mut stat.role),
                "used_cpu_sys" | "used_cpu_user" => stat.cpu_s += value.parse().unwrap_or(0.0),
                "used_memory_rss" => stat.rss_bytes = value.parse().unwrap_or(0),
                _ => stat.count(name, value),
            }
        }
        stat
    }

    fn count(&mut self, name: &str, value: &str) {
        let field = |wanted: &str| {
            let pairs = value.split(',').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(name, _)| *name == wanted).find_map(|(_, n)| n.parse().ok()).unwrap_or(0)
        };
        if let Some(error) = name.strip_prefix("errorstat_") {
            self.errors.insert(error.to_owned(), field("count"));
        } else if let Some(command) = name.strip_prefix("cmdstat_") {
            let stat = CommandStat {
                calls: field("calls"),
                usec: field("usec"),
                rejected: field("rejected_calls"),
                failed: field("failed_calls"),
            };
            self.commands.insert(command.to_owned(), stat);
        }
    }
}

/// All nodes at one instant, or nearly.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// By address; `Err` says why there is nothing.
    pub nodes: Vec<(String, Result<NodeStat, String>)>,
}

impl Snapshot {
    /// Asks every node, over connections of its own.
    pub fn take(nodes: &[String]) -> Self {
        let look = Look::now();
        let held = |address: &str| {
            let address: SocketAddr = address.parse().ok()?;
            let here = address.ip().is_loopback();
            look.as_ref().filter(|_| here).map(|look| look.at(address.port()))
        };
        let one = |address: &String| {
            let mut words = vec!["INFO"];
            words.extend(SECTIONS);
            let asked = Admin::connect(address).and_then(|mut admin| {
                admin.call(&words, |reply| match reply {
                    Reply::Bulk(text) => NodeStat::parse(&String::from_utf8_lossy(text)),
                    _ => NodeStat::default(),
                })
            });
            let asked = asked.map(|stat| NodeStat { sockets: held(address), ..stat });
            (address.clone(), asked.map_err(|error| error.to_string()))
        };
        Self { nodes: nodes.iter().map(one).collect() }
    }

    pub(super) fn of(&self, address: &str) -> Option<&NodeStat> {
        self.nodes.iter().find(|(known, _)| known == address)?.1.as_ref().ok()
    }
}

/// What the kernel holds for TCP sockets, of all processes that share the network: `/proc/net/sockstat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketMemory {
    /// Sockets in use.
    pub sockets: u64,
    /// Memory for their buffers, in bytes, to the page.
    pub bytes: u64,
}

impl SocketMemory {
    /// Now; none where the system does not tell.
    pub fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/net/sockstat").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("TCP: "))?;
        let words: Vec<&str> = line.split(' ').collect();
        let field = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1)?.parse::<u64>().ok()
        };
        Some(Self { sockets: field("inuse")?, bytes: field("mem")? * rustix::param::page_size() as u64 })
    }

    /// The one with more memory.
    pub fn higher(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if b.bytes > a.bytes { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_info_is_read() {
        let stat = NodeStat::parse(
            "# Server\r\nrun_id:abc\r\n# Replication\r\nrole:master\r\n# CPU\r\nused_cpu_sys:1.5\r\n\
             used_cpu_user:2.25\r\nused_cpu_sys_children:9\r\nused_memory_rss:4096\r\n# Commandstats\r\n\
             cmdstat_get:calls=7,usec=14,usec_per_call=2.00,rejected_calls=3,failed_calls=1\r\n\
             cmdstat_cluster|slots:calls=1,usec=5,usec_per_call=5.00,rejected_calls=0,failed_calls=0\r\n\
             # Errorstats\r\nerrorstat_MOVED:count=3\r\n",
        );
        assert_eq!((stat.run_id.as_str(), stat.role.as_str(), stat.cpu_s), ("abc", "master", 3.75));
        let get = CommandStat { calls: 7, usec: 14, rejected: 3, failed: 1 };
        assert_eq!((stat.commands["get"], stat.commands["cluster|slots"].calls), (get, 1));
        assert_eq!((stat.errors["MOVED"], stat.rss_bytes), (3, 4096));
    }

    #[test]
    fn the_kernels_figures_are_read() {
        let text = "sockets: used 9\nTCP: inuse 12 orphan 0 tw 3 alloc 14 mem 5\nUDP: inuse 0 mem 0\n";
        let page = rustix::param::page_size() as u64;
        assert_eq!(SocketMemory::parse(text), Some(SocketMemory { sockets: 12, bytes: 5 * page }));
        assert_eq!(SocketMemory::parse("sockets: used 9\n"), None);
    }
}
