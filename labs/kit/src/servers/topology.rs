//! The two shapes of Redis that everything here runs on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many Redis processes there are and how they are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Topology {
    /// One node, all keys on it.
    Single,
    /// Three masters that share the 16,384 slots, and one replica of each.
    Cluster,
}

impl Topology {
    /// Both, in the order in which reports show them.
    pub const ALL: [Self; 2] = [Self::Single, Self::Cluster];

    /// The number of server processes.
    pub const fn node_count(self) -> usize {
        match self {
            Self::Single => 1,
            Self::Cluster => 6,
        }
    }

    /// The number of nodes that own slots; each of the others replicates one of them.
    pub const fn master_count(self) -> usize {
        match self {
            Self::Single => 1,
            Self::Cluster => 3,
        }
    }

    /// The name as typed on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Cluster => "cluster",
        }
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is neither `single` nor `cluster`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no topology: use `single` or `cluster`")]
pub struct UnknownTopology(pub String);

impl FromStr for Topology {
    type Err = UnknownTopology;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|topology| topology.as_str() == text)
            .ok_or_else(|| UnknownTopology(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_text_and_in_json() {
        for topology in Topology::ALL {
            assert_eq!(topology.as_str().parse(), Ok(topology));
            let json = serde_json::to_string(&topology).unwrap();
            assert_eq!(json, format!("\"{topology}\""));
        }
        assert!("sentinel".parse::<Topology>().is_err());
    }
}
