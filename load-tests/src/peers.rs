//! Chat servers of others that ours is compared with: their files, as they come along in `peers/`.
//!
//! This crate only knows what they are. Who starts them fetches what they need first, and asks before.

use sha2::{Digest, Sha256};

use crate::dialect::{Dialect, DialectError};

/// A server of others.
#[derive(Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it is called in `peer:NAME`.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// Its files, by name.
    pub files: &'static [(&'static str, &'static str)],
    /// The file that is run.
    pub main: &'static str,
    /// How to talk to it.
    dialect: &'static str,
}

const ALL: &[Peer] = &[Peer {
    name: "socketio",
    title: "Socket.IO 4 with its Redis adapter, one Node.js process",
    files: &[
        ("package.json", include_str!("../peers/socketio/package.json")),
        ("package-lock.json", include_str!("../peers/socketio/package-lock.json")),
        ("server.mjs", include_str!("../peers/socketio/server.mjs")),
    ],
    main: "server.mjs",
    dialect: include_str!("../peers/socketio/dialect.toml"),
}];

impl Peer {
    /// The peer of that name.
    ///
    /// # Errors
    /// The names there are.
    pub fn find(name: &str) -> Result<&'static Self, String> {
        let known = || ALL.iter().map(|peer| peer.name).collect::<Vec<_>>().join(", ");
        let found = ALL.iter().find(|peer| peer.name == name);
        found.ok_or_else(|| format!("there is no peer `{name}`; there are: {}", known()))
    }

    /// How to talk to it.
    ///
    /// # Errors
    /// [`DialectError`], which a test rules out.
    pub fn dialect(&self) -> Result<Dialect, DialectError> {
        Dialect::parse(self.name, self.dialect)
    }

    /// Names its files: another version of them is another folder.
    pub fn version(&self) -> String {
        let mut sha = Sha256::new();
        for (name, text) in self.files {
            sha.update(name);
            sha.update([0]);
            sha.update(text);
            sha.update([0]);
        }
        sha.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_has_what_it_needs_pinned_and_a_dialect_with_a_token() {
        for peer in ALL {
            assert_eq!(Peer::find(peer.name), Ok(peer));
            assert!(peer.dialect().unwrap().ready().unwrap().auth.has("token"));
            assert!(peer.files.iter().any(|(name, _)| *name == peer.main) && peer.version().len() == 12);
            let lock = peer.files.iter().find(|(name, _)| *name == "package-lock.json").unwrap().1;
            // Pinned by hash, and from whatever registry is usual where it is fetched.
            assert!(lock.contains("\"integrity\": \"sha512-") && !lock.contains("://"));
        }
        assert!(Peer::find("carrier-pigeon").unwrap_err().contains("socketio"));
    }
}
