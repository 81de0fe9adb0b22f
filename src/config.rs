//! What the server is set up with, checked once.

use std::{
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use chatlab_kit::redis::RedisConfig;
use rand::RngCore;

use crate::service::tokens::MIN_SECRET_BYTES;

/// How long an access token lives unless told otherwise, in seconds.
pub const TOKEN_TTL_S: u64 = 12 * 60 * 60;
/// How often the server pings, in milliseconds. A connection silent for twice as long is closed.
pub const HEARTBEAT_MS: u64 = 25_000;
/// The most WebSocket connections of one server process.
pub const MAX_CONNECTIONS: usize = 100_000;
/// How long a shutdown waits for connections to take their leave, in milliseconds.
pub const DRAIN_MS: u64 = 10_000;

/// The server's settings.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where Redis is, and by which client library.
    pub redis: RedisConfig,
    /// The SQLite file, shared by all server processes of a deployment.
    pub db: PathBuf,
    /// Signs access tokens, at least 32 bytes. Without one, a random secret is kept in a file beside
    /// the database, so that all processes with the same database agree.
    pub jwt_secret: Option<String>,
    /// How long an access token lives, in seconds.
    pub token_ttl_s: u64,
    /// Origins (`https://chat.example`) that browsers may connect from besides the server's own.
    pub allow_origins: Vec<String>,
    /// How often the server pings, in milliseconds.
    pub heartbeat_ms: u64,
    /// The most WebSocket connections at once.
    pub max_connections: usize,
    /// How long a shutdown waits for connections to take their leave, in milliseconds.
    pub drain_ms: u64,
}

impl ServerConfig {
    /// The defaults for everything but Redis and the database.
    pub fn new(redis: RedisConfig, db: PathBuf) -> Self {
        Self {
            redis,
            db,
            jwt_secret: None,
            token_ttl_s: TOKEN_TTL_S,
            allow_origins: Vec::new(),
            heartbeat_ms: HEARTBEAT_MS,
            max_connections: MAX_CONNECTIONS,
            drain_ms: DRAIN_MS,
        }
    }

    /// The secret that was set, or the one in the file beside the database, which is made when it
    /// is not there.
    ///
    /// # Errors
    /// When the secret is too short, or the file can't be read or written.
    pub fn secret(&self) -> anyhow::Result<Vec<u8>> {
        let secret = match &self.jwt_secret {
            Some(secret) => secret.clone().into_bytes(),
            None => {
                let mut name = self.db.clone().into_os_string();
                name.push(".jwt-secret");
                let path = PathBuf::from(name);
                shared_secret(&path).with_context(|| format!("token secret in {}", path.display()))?
            }
        };
        anyhow::ensure!(
            secret.len() >= MIN_SECRET_BYTES,
            "the token secret has {} bytes, fewer than {MIN_SECRET_BYTES}",
            secret.len()
        );
        Ok(secret)
    }
}

/// Reads the file, or makes it. When two processes make it at once, one wins and both use that.
fn shared_secret(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        done => return done,
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut random = [0u8; 32];
    rand::rng().fill_bytes(&mut random);
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    // Written whole under another name first: nobody ever reads half a secret.
    let draft = path.with_extension(format!("{}-{:x}", std::process::id(), rand::rng().next_u64()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => std::fs::read(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_processes_with_one_database_share_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/chat.db.jwt-secret");
        let first = shared_secret(&path).unwrap();
        assert_eq!(first.len(), 64);
        assert_eq!(shared_secret(&path).unwrap(), first);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
