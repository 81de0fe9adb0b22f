//! What the server is set up with, checked once.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::Context;
use chatlab_kit::{prereq::state_dir, redis::RedisConfig};
use rand::RngCore;

use crate::{
    archive::shown,
    service::{tokens::MIN_SECRET_BYTES, vault::Vault},
};

/// How long an access token lives unless told otherwise, in seconds.
pub const TOKEN_TTL_S: u64 = 12 * 60 * 60;
/// How often the server pings, in milliseconds. A connection silent for twice as long is closed.
pub const HEARTBEAT_MS: u64 = 25_000;
/// The most WebSocket connections of one server process.
pub const MAX_CONNECTIONS: usize = 100_000;
/// How long a shutdown waits for connections to take their leave, in milliseconds.
pub const DRAIN_MS: u64 = 10_000;

/// Log-ins, and registrations, of one name in any window of [`LIMIT_WINDOW_MS`].
pub const LOGINS_PER_NAME: u32 = 60;
/// Log-ins, and registrations, from one address in any window of [`LIMIT_WINDOW_MS`].
pub const LOGINS_PER_ADDRESS: u32 = 600;
/// Requests over HTTP of one user in any window of [`LIMIT_WINDOW_MS`].
pub const REQUESTS_PER_USER: u32 = 1_200;
/// The window of these limits, in milliseconds.
pub const LIMIT_WINDOW_MS: u64 = 60_000;
/// How long after its last sign of life a server process is taken for dead, in milliseconds. It gives one three to four
/// times within that.
pub const PRESENCE_LEASE_MS: u64 = 10_000;

/// Which variant of a lab is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The lab's id.
    pub lab: String,
    /// The variant's name.
    pub variant: String,
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((lab, variant)) if !lab.is_empty() && !variant.is_empty() => {
                Ok(Self { lab: lab.to_owned(), variant: variant.to_owned() })
            }
            _ => Err("it must be LAB=NAME, such as sessions=user_hash".to_owned()),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.lab, self.variant)
    }
}

/// The variants that were chosen, at most one a lab; the others are the references.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variants(BTreeMap<String, String>);

impl Variants {
    /// From choices; of two for the same lab the later one stays.
    pub fn new(choices: impl IntoIterator<Item = Choice>) -> Self {
        Self(choices.into_iter().map(|choice| (choice.lab, choice.variant)).collect())
    }

    /// What was chosen for a lab.
    pub fn of(&self, lab: &str) -> Option<&str> {
        self.0.get(lab).map(String::as_str)
    }

    /// All choices, by lab.
    pub fn choices(&self) -> impl Iterator<Item = Choice> + '_ {
        self.0.iter().map(|(lab, variant)| Choice { lab: lab.clone(), variant: variant.clone() })
    }
}

/// Where the archive is. Shown without what it holds of users and passwords.
#[derive(Clone, PartialEq, Eq)]
pub enum Database {
    /// A SQLite file, shared by all server processes of a deployment.
    File(PathBuf),
    /// The URL of a PostgreSQL database.
    Postgres(String),
}

impl Database {
    /// The usual file.
    pub fn usual() -> Self {
        Self::File(state_dir().join("chatlab.db"))
    }

    /// Refuses a URL of anything else: a file of such a name would be made, and nobody would look for it.
    ///
    /// # Errors
    /// What a database is. Not what it was given: that may hold a password.
    pub fn check(&self) -> anyhow::Result<()> {
        let is_url = matches!(self, Self::File(path) if path.to_string_lossy().contains("://"));
        anyhow::ensure!(
            !is_url,
            "a database is the path of a SQLite file, or postgres://USER:PASSWORD@HOST/NAME"
        );
        Ok(())
    }

    /// Where the secret is that tokens are signed with, unless one is set.
    fn secret_file(&self) -> PathBuf {
        match self {
            Self::File(path) => {
                let mut name = path.clone().into_os_string();
                name.push(".jwt-secret");
                PathBuf::from(name)
            }
            Self::Postgres(url) => {
                let plain = |c: char| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '_' };
                let name: String = shown(url).chars().map(plain).collect();
                state_dir().join(format!("{name}.jwt-secret"))
            }
        }
    }
}

impl From<OsString> for Database {
    fn from(text: OsString) -> Self {
        let is_url = |text: &str| text.starts_with("postgres://") || text.starts_with("postgresql://");
        match text.into_string() {
            Ok(url) if is_url(&url) => Self::Postgres(url),
            Ok(path) => Self::File(path.into()),
            Err(path) => Self::File(path.into()),
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Postgres(url) => f.write_str(&shown(url)),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The server's settings.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where Redis is, and by which client library.
    pub redis: RedisConfig,
    /// Where the archive is.
    pub db: Database,
    /// Signs access tokens, at least 32 bytes. Without one, a random secret is kept in a file beside
    /// the SQLite file, or in the state folder, so that all processes of a machine with the same database agree.
    pub jwt_secret: Option<String>,
    /// How long an access token lives, in seconds.
    pub token_ttl_s: u64,
    /// Origins (`https://chat.example`) that browsers may connect from besides the server's own.
    pub allow_origins: Vec<String>,
    /// How often the server pings, in milliseconds.
    pub heartbeat_ms: u64,
    /// The most WebSocket connections at once.
    pub max_connections: usize,
    /// Which variants to run instead of the references.
    pub variants: Variants,
    /// Log-ins, and registrations, of one name in any window of [`LIMIT_WINDOW_MS`].
    pub logins_per_name: u32,
    /// The same from one address.
    pub logins_per_address: u32,
    /// Requests over HTTP of one user in any window of [`LIMIT_WINDOW_MS`].
    pub requests_per_user: u32,
    /// Where letters to users are put; none are sent without it.
    pub mail_dir: Option<PathBuf>,
    /// How long after its last sign of life a server process is taken for dead, in milliseconds.
    pub presence_lease_ms: u64,
    /// The newest messages of a room that stay in Redis; older ones are the archive's.
    pub hot_messages: u64,
    /// How long a shutdown waits for connections to take their leave, in milliseconds.
    pub drain_ms: u64,
}

impl ServerConfig {
    /// The defaults for everything but Redis and the database.
    pub fn new(redis: RedisConfig, db: Database) -> Self {
        Self {
            redis,
            db,
            jwt_secret: None,
            token_ttl_s: TOKEN_TTL_S,
            allow_origins: Vec::new(),
            heartbeat_ms: HEARTBEAT_MS,
            max_connections: MAX_CONNECTIONS,
            variants: Variants::default(),
            logins_per_name: LOGINS_PER_NAME,
            logins_per_address: LOGINS_PER_ADDRESS,
            requests_per_user: REQUESTS_PER_USER,
            mail_dir: None,
            presence_lease_ms: PRESENCE_LEASE_MS,
            hot_messages: chatlab_history::HOT_MESSAGES,
            drain_ms: DRAIN_MS,
        }
    }

    /// The secret that was set, or the one in the database's file for it, which is made when it
    /// is not there.
    ///
    /// # Errors
    /// When the secret is too short, or the file can't be read or written.
    pub fn secret(&self) -> anyhow::Result<Vec<u8>> {
        let secret = match &self.jwt_secret {
            Some(secret) => secret.clone().into_bytes(),
            None => {
                let path = self.db.secret_file();
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

/// The keys of a list that nobody else can read; none without a list.
///
/// # Errors
/// When the file can't be read, is readable by others, or is no list of keys.
pub fn vault(list: Option<&Path>) -> anyhow::Result<Vault> {
    let Some(list) = list else { return Ok(Vault::default()) };
    let named = || format!("message keys in {}", list.display());
    let mode = std::fs::metadata(list).with_context(named)?.mode();
    let (shown, others) = (list.display(), mode & 0o077 != 0);
    anyhow::ensure!(!others, "message keys in {shown}: others can read them: chmod 600 {shown}");
    Vault::parse(&std::fs::read_to_string(list).with_context(named)?).with_context(named)
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
    fn choices_name_a_lab_and_a_variant() {
        let choice: Choice = "sessions=user_hash".parse().unwrap();
        assert_eq!((choice.to_string().as_str(), choice.lab.as_str()), ("sessions=user_hash", "sessions"));
        for wrong in ["", "sessions", "=x", "sessions="] {
            assert!(wrong.parse::<Choice>().is_err(), "{wrong}");
        }
        let variants = Variants::new(["a=1", "b=2", "a=3"].map(|text| text.parse().unwrap()));
        assert_eq!((variants.of("a"), variants.of("b"), variants.of("c")), (Some("3"), Some("2"), None));
    }

    #[test]
    fn a_database_is_a_url_or_a_file_and_shows_no_password() {
        let of = |text: &str| Database::from(OsString::from(text));
        assert_eq!(of("postgres.db"), Database::File("postgres.db".into()));
        for url in ["postgres://ada:secret@h:7/chat", "postgresql://ada:secret@h:7/chat?x=secret"] {
            assert_eq!(of(url), Database::Postgres(url.into()));
            assert_eq!(format!("{0} {0:?}", of(url)), ["postgres://h:7/chat"; 2].join(" "));
            assert!(of(url).secret_file().ends_with("postgres___h_7_chat.jwt-secret"));
        }
        assert_eq!(of("/a/b").secret_file(), Path::new("/a/b.jwt-secret"));
    }

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
