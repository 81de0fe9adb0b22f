//! What one running server says about itself.

use serde::{Deserialize, Serialize};

use super::Role;
use super::resp::{Connection, field};

/// A look at one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its role now, after whatever failovers.
    pub role: Role,
    /// `used_memory`.
    pub used_memory_bytes: u64,
    /// Connections of clients, this look included.
    pub clients: u64,
    /// `ok` or `fail`; `None` on a single node.
    pub cluster_state: Option<String>,
}

/// Asks the server on `127.0.0.1:port`; it has two seconds to answer.
///
/// # Errors
/// A sentence on why there is no answer.
pub fn inspect(port: u16) -> Result<NodeStatus, String> {
    let mut connection = Connection::open(port).map_err(|error| error.to_string())?;
    let mut ask = |arguments: &[&str]| connection.call(arguments).map_err(|error| error.to_string())?;
    let info = ask(&["INFO"])?;
    let number = |name: &str| field(&info, name).and_then(|value| value.parse().ok()).unwrap_or(0);
    let clustered = field(&info, "cluster_enabled") == Some("1");
    let cluster_state =
        if clustered { field(&ask(&["CLUSTER", "INFO"])?, "cluster_state").map(str::to_owned) } else { None };
    Ok(NodeStatus {
        role: if field(&info, "role") == Some("slave") { Role::Replica } else { Role::Master },
        used_memory_bytes: number("used_memory"),
        clients: number("connected_clients"),
        cluster_state,
    })
}
