//! Joining six nodes to a cluster of three masters with one replica each.
//!
//! This is what `redis-cli --cluster create` does, in fewer waits: every node meets every other one at once instead of
//! hearing of it by gossip, and replicas are attached as soon as they know their master. About two seconds remain: a master
//! refuses writes for that long after its start (`CLUSTER_WRITABLE_DELAY` in the server's source).

use std::time::Duration;

use super::node::NODES_FILE;
use super::poll::poll;
use super::ports::{BUS_OFFSET, TLS_OFFSET};
use super::resp::{Connection, field};
use super::{Node, ServerError, node};

/// Hash slots of a cluster, by specification.
const SLOTS: usize = 16_384;
const MASTERS: usize = 3;
const NODES: usize = 6;
/// From the first command to a cluster that is whole.
const JOIN_BOUND: Duration = Duration::from_secs(30);

/// How long the nodes' files may take to agree with what the nodes say.
const FILE_BOUND: Duration = Duration::from_secs(10);

/// Sends one command whose refusal is an error.
fn command(connection: &mut Connection, port: u16, arguments: &[&str]) -> Result<String, ServerError> {
    let refused = |answer: String| ServerError::Refused { port, command: arguments.join(" "), answer };
    connection.call(arguments).map_err(|error| refused(error.to_string()))?.map_err(refused)
}

/// Gives out the slots, introduces the nodes to each other, by the ports for TLS if they speak it, and attaches the replicas. Node `i + 3`
/// replicates node `i`.
pub(super) fn join(nodes: &[Node], connections: &mut [Connection], tls: bool) -> Result<(), ServerError> {
    for (index, (node, connection)) in nodes.iter().zip(connections.iter_mut()).enumerate() {
        // Distinct epochs from the start: otherwise the nodes settle them among themselves, a second or more.
        let epoch = (index + 1).to_string();
        command(connection, node.port, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch])?;
        if index < MASTERS {
            let first = (index * SLOTS / MASTERS).to_string();
            let last = ((index + 1) * SLOTS / MASTERS - 1).to_string();
            command(connection, node.port, &["CLUSTER", "ADDSLOTSRANGE", &first, &last])?;
        }
    }
    for (index, (node, connection)) in nodes.iter().zip(connections.iter_mut()).enumerate() {
        for other in &nodes[index + 1..] {
            let port = other.port + if tls { TLS_OFFSET } else { 0 };
            let (port, bus) = (port.to_string(), (other.port + BUS_OFFSET).to_string());
            command(connection, node.port, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
        }
    }
    for index in 0..MASTERS {
        let master = command(&mut connections[index], nodes[index].port, &["CLUSTER", "MYID"])?;
        let replica = index + MASTERS;
        attach(&nodes[replica], &mut connections[replica], &master)?;
    }
    Ok(())
}

/// `CLUSTER REPLICATE` is refused until the handshake with the master is done.
fn attach(replica: &Node, connection: &mut Connection, master: &str) -> Result<(), ServerError> {
    let outcome = poll(JOIN_BOUND, || {
        connection.call(&["CLUSTER", "REPLICATE", master]).map_err(|error| error.to_string())?
    });
    outcome.map(drop).map_err(|(answer, waited)| ServerError::Timeout {
        what: format!("port {} does not become a replica: {answer}", replica.port),
        waited,
        log: node::log_tail(&replica.dir),
    })
}

/// Waits until the cluster is whole as every node sees it, and every replica has all of its master's data.
pub(super) fn await_whole(nodes: &[Node], bound: Duration) -> Result<(), ServerError> {
    for node in nodes {
        let outcome = poll(bound, || look_at(node, nodes));
        outcome.map_err(|(seen, waited)| ServerError::Timeout {
            what: format!("the cluster is not whole: 127.0.0.1:{} {seen}", node.port),
            waited,
            log: node::log_tail(&node.dir),
        })?;
    }
    Ok(())
}

pub(super) fn await_whole_after_start(nodes: &[Node]) -> Result<(), ServerError> {
    await_whole(nodes, JOIN_BOUND)?;
    for node in nodes {
        if let Err((seen, waited)) = poll(FILE_BOUND, || look_at_file(node)) {
            tracing::warn!(port = node.port, seen, ?waited, "a node that is killed now may not come back");
        }
    }
    Ok(())
}

/// What a node has written down of the cluster: Valkey 8.1.1 and its kin do not start again from a file in which a replica is of another
/// shard than its master, as it is for a moment after they met.
fn look_at_file(node: &Node) -> Result<(), String> {
    let text = std::fs::read_to_string(node.dir.join(NODES_FILE)).map_err(|error| error.to_string())?;
    if let Some(stray) = stray_replica(&text) {
        let mut connection = Connection::open(node.port).map_err(|error| error.to_string())?;
        connection.call(&["CLUSTER", "SAVECONFIG"]).map_err(|error| error.to_string())??;
        return Err(format!("has replica {stray} in another shard than its master"));
    }
    Ok(())
}

/// A replica whose shard is not its master's; shards are there since version 7.2.
fn stray_replica(file: &str) -> Option<&str> {
    let lines: Vec<Vec<&str>> = file.lines().map(|line| line.split(' ').collect()).collect();
    let shard = |line: &[&str]| {
        line.get(1)?.split(',').find_map(|part| part.strip_prefix("shard-id=")).map(str::to_owned)
    };
    let of_master = |id: &str| lines.iter().find(|line| line[0] == id).and_then(|line| shard(line));
    let replicas = lines.iter().filter(|line| line.get(2).is_some_and(|flags| flags.contains("slave")));
    let mut strays = replicas.filter(|line| shard(line) != line.get(3).and_then(|id| of_master(id)));
    strays.next().map(|line| line[0])
}

/// `Err` says what is still missing, as seen by one node.
fn look_at(node: &Node, nodes: &[Node]) -> Result<(), String> {
    let mut connection = Connection::open(node.port).map_err(|error| error.to_string())?;
    let mut ask = |arguments: &[&str]| connection.call(arguments).map_err(|error| error.to_string())?;
    let info = ask(&["CLUSTER", "INFO"])?;
    expect(&info, "cluster_state", "ok")?;
    expect(&info, "cluster_slots_ok", &SLOTS.to_string())?;
    expect(&info, "cluster_known_nodes", &NODES.to_string())?;
    check_members(&ask(&["CLUSTER", "NODES"])?)?;
    let replication = ask(&["INFO", "replication"])?;
    if field(&replication, "role") == Some("slave") {
        check_replica(&replication, nodes)
    } else {
        check_master(&replication)
    }
}

fn expect(info: &str, name: &str, wanted: &str) -> Result<(), String> {
    match field(info, name) {
        Some(value) if value == wanted => Ok(()),
        other => Err(format!("says {name}:{}, not {wanted}", other.unwrap_or("(nothing)"))),
    }
}

/// All six are known by their final role, connected, and none is suspected.
fn check_members(listing: &str) -> Result<(), String> {
    let usable = |line: &&str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let flags = fields.get(2).copied().unwrap_or_default();
        let known = !flags.split(',').any(|flag| matches!(flag, "handshake" | "fail" | "fail?" | "noaddr"));
        known && fields.get(7) == Some(&"connected")
    };
    let members: Vec<&str> = listing.lines().filter(usable).collect();
    let replicas = members.iter().filter(|line| line.contains("slave")).count();
    if members.len() == NODES && replicas == NODES - MASTERS {
        return Ok(());
    }
    Err(format!("knows {} usable nodes, {replicas} of them replicas", members.len()))
}

/// A replica is linked, has loaded the first copy, and has applied everything its master has written by now.
fn check_replica(replication: &str, nodes: &[Node]) -> Result<(), String> {
    expect(replication, "master_link_status", "up")?;
    expect(replication, "master_sync_in_progress", "0")?;
    let number = |text: &str, name: &str| field(text, name).and_then(|value| value.parse::<u64>().ok());
    let port = number(replication, "master_port").and_then(|port| u16::try_from(port).ok());
    let port = plain_port(nodes, port.ok_or("names no master port")?);
    let own = number(replication, "slave_repl_offset").ok_or("names no offset")?;
    let mut master = Connection::open(port).map_err(|error| error.to_string())?;
    let theirs = master.call(&["INFO", "replication"]).map_err(|error| error.to_string())??;
    let written = number(&theirs, "master_repl_offset").ok_or("its master names no offset")?;
    if own >= written { Ok(()) } else { Err(format!("is at offset {own} of its master's {written}")) }
}

/// A replica that copies its master by TLS names the port for that.
fn plain_port(nodes: &[Node], port: u16) -> u16 {
    if nodes.iter().any(|node| node.port == port) { port } else { port - TLS_OFFSET }
}

fn check_master(replication: &str) -> Result<(), String> {
    let replica = field(replication, "slave0").unwrap_or("(none)");
    if replica.contains("state=online") { Ok(()) } else { Err(format!("has this replica: {replica}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_of_another_shard_is_seen_in_a_file() {
        let line = |id: &str, shard: &str, rest: &str| {
            format!("{id} 127.0.0.1:1@2,,tls-port=0{shard} {rest} 0 0 1 connected\n")
        };
        let master = line("m", ",shard-id=a", "myself,master -");
        let of = |replica: String| {
            stray_replica(&(master.clone() + &replica + "vars currentEpoch 6\n")).map(str::to_owned)
        };
        assert_eq!(of(line("r", ",shard-id=a", "slave m")), None);
        assert_eq!(of(line("r", ",shard-id=b", "slave m")), Some("r".to_owned()));
        let old = line("m", "", "master -") + &line("r", "", "slave m");
        assert_eq!(stray_replica(&old), None, "before 7.2");
    }

    #[test]
    fn members_count_only_when_connected_and_past_the_handshake() {
        let line = |flags: &str, link: &str| format!("id 127.0.0.1:1@2 {flags} - 0 0 1 {link} 0-1\n");
        let masters = line("master", "connected").repeat(3);
        let whole = masters.clone() + &line("slave", "connected").repeat(3);
        assert_eq!(check_members(&whole), Ok(()));
        let shaking =
            masters.clone() + &line("slave", "connected").repeat(2) + &line("handshake", "connected");
        assert!(check_members(&shaking).is_err());
        let cut = masters + &line("slave", "connected").repeat(2) + &line("slave", "disconnected");
        assert!(check_members(&cut).is_err());
    }
}
