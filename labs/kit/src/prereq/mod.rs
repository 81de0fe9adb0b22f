//! Finding a Redis server, and getting one where there is none.
//!
//! [`find_server`] looks in this order and stops at the first that is new enough:
//!
//! 1. the setting: `--redis-server PATH` or `CHATLAB_REDIS_SERVER`. A bad one is an error, never a reason to look further:
//!    who names a server wants that server;
//! 2. `PATH`: `redis-server`, then `valkey-server`;
//! 3. chatlab's own cache folder, where [`InstallPlan`] puts a private copy.
//!
//! Other programs, which only some things need, are [`Program`]s. Nothing is installed here without being asked for: [`install_plan`] says what would be done, its caller asks.

mod dirs;
mod install;
mod private;
mod programs;
mod version;

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use dirs::{cache_dir, state_dir};
pub use install::{InstallPlan, install_plan, run_shell};
pub use programs::{NODE, NPM, POSTGRES, PYTHON_VENV, Packages, Program, ProgramsPlan, beside_path};
pub use version::{Flavour, Version, output_of, parse_banner};

/// The oldest server that every lab runs on: sharded pub/sub and `ADDSLOTSRANGE` came with it.
pub const MIN_VERSION: Version = Version::new(7, 0, 0);

/// The environment variable that names the server to use.
pub const SERVER_SETTING: &str = "CHATLAB_REDIS_SERVER";

/// The names that a server has on `PATH` and in the cache, in order of preference.
const SERVER_NAMES: [&str; 2] = ["redis-server", "valkey-server"];

/// Where a server was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Named by flag or environment.
    Setting,
    /// On `PATH`.
    Path,
    /// The private copy in chatlab's cache folder.
    Cache,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Setting => "setting",
            Self::Path => "PATH",
            Self::Cache => "private copy",
        })
    }
}

/// A server program that was run once and is new enough.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerBinary {
    /// The program.
    pub path: PathBuf,
    /// Redis or Valkey.
    pub flavour: Flavour,
    /// As it states itself.
    pub version: Version,
    /// Where it was found.
    pub source: Source,
}

impl fmt::Display for ServerBinary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({}, {})", self.flavour, self.version, self.path.display(), self.source)
    }
}

/// Why there is no server to run.
#[derive(Debug, thiserror::Error)]
pub enum PrereqError {
    /// The setting names something that cannot be used.
    #[error(
        "the Redis server named by --redis-server or {SERVER_SETTING} cannot be used: {path}: {why}\n\
         Name a redis-server or valkey-server {MIN_VERSION} or newer, or unset it to let chatlab look for one."
    )]
    BadSetting {
        /// As it was given.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing usable anywhere; the text says what to do.
    #[error("{}", not_found_text(.rejected, .command.as_deref()))]
    NotFound {
        /// Servers that are there, each with the reason why not to use it.
        rejected: Vec<String>,
        /// The command that would install one, where chatlab knows it.
        command: Option<String>,
    },
    /// The installation was tried and failed.
    #[error("an installation failed at `{step}`: {why}")]
    Install {
        /// The command that failed.
        step: String,
        /// Its last words.
        why: String,
    },
    /// What was downloaded is not what was asked for. Nothing of it was run.
    #[error("{file} has SHA-256 {actual}, which is none of the pinned ones: not used")]
    Hash {
        /// The file's name.
        file: String,
        /// Its SHA-256 in hex.
        actual: String,
    },
    /// A file operation failed.
    #[error("{path}: {source}")]
    Io {
        /// What was worked on.
        path: String,
        /// The reason.
        source: std::io::Error,
    },
}

impl PrereqError {
    fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.display().to_string(), source }
    }
}

fn not_found_text(rejected: &[String], command: Option<&str>) -> String {
    let mut text = format!(
        "no Redis server found: chatlab needs redis-server or valkey-server {MIN_VERSION} or newer, \
         on PATH or in {}.\n",
        dirs::servers_dir().display()
    );
    for reason in rejected {
        text.push_str(&format!("  not usable: {reason}\n"));
    }
    match command {
        Some(command) => text.push_str(&format!(
            "Install it with\n\n    {command}\n\nor give this command --yes, and chatlab runs exactly that.\n"
        )),
        None => text.push_str(
            "Install Redis or Valkey with your system's package manager (the package is called redis-server, redis \
             or valkey); chatlab found no way to do it for you, so --yes cannot help here.\n",
        ),
    }
    text.push_str("A server elsewhere: --redis-server PATH or CHATLAB_REDIS_SERVER=PATH.");
    text
}

/// Finds a server that is new enough: setting, `PATH`, chatlab's cache folder.
///
/// # Errors
/// [`PrereqError::BadSetting`] for a setting that cannot be used, otherwise [`PrereqError::NotFound`].
pub fn find_server(setting: Option<&Path>) -> Result<ServerBinary, PrereqError> {
    let from_env = || std::env::var_os(SERVER_SETTING).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = setting.map(Path::to_path_buf).or_else(from_env) {
        return probe(&path, Source::Setting)
            .map_err(|why| PrereqError::BadSetting { path: path.display().to_string(), why });
    }
    find_unnamed().map_err(|rejected| PrereqError::NotFound {
        rejected,
        command: install_plan().map(|plan| plan.command_line().to_owned()),
    })
}

/// Looks on `PATH` and in the cache; the error lists what was found but cannot be used.
fn find_unnamed() -> Result<ServerBinary, Vec<String>> {
    let mut rejected = Vec::new();
    let on_path = SERVER_NAMES.iter().flat_map(|name| all_on_path(name)).map(|path| (path, Source::Path));
    let cached = private::cached_servers().into_iter().map(|path| (path, Source::Cache));
    for (path, source) in on_path.chain(cached) {
        match probe(&path, source) {
            Ok(server) => return Ok(server),
            Err(why) => rejected.push(format!("{}: {why}", path.display())),
        }
    }
    Err(rejected)
}

/// Asks one program for its version.
fn probe(path: &Path, source: Source) -> Result<ServerBinary, String> {
    let banner = output_of(path, &["--version"])?;
    let (flavour, version) = parse_banner(&banner).ok_or_else(|| {
        format!(
            "is neither a Redis nor a Valkey server, it says `{}`",
            banner.lines().next().unwrap_or_default()
        )
    })?;
    if version < MIN_VERSION {
        return Err(format!("is {flavour} {version}, older than {MIN_VERSION}"));
    }
    Ok(ServerBinary { path: path.to_path_buf(), flavour, version, source })
}

/// The first program called `name` on `PATH`.
pub fn on_path(name: &str) -> Option<PathBuf> {
    all_on_path(name).into_iter().next()
}

fn all_on_path(name: &str) -> Vec<PathBuf> {
    let Some(path) = std::env::var_os("PATH") else { return Vec::new() };
    std::env::split_paths(&path).map(|folder| folder.join(name)).filter(|file| is_executable(file)).collect()
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake_server(folder: &Path, banner: &str) -> PathBuf {
        let path = folder.join("redis-server");
        std::fs::write(&path, format!("#!/bin/sh\necho '{banner}'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_setting_that_is_too_old_is_an_error_and_not_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let path = fake_server(folder.path(), "Redis server v=6.2.14 sha=0");
        let error = find_server(Some(&path)).unwrap_err();
        assert!(matches!(error, PrereqError::BadSetting { .. }), "{error}");
        assert!(error.to_string().contains("6.2.14, older than 7.0.0"), "{error}");
    }

    #[test]
    fn a_setting_that_is_new_enough_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = fake_server(folder.path(), "Valkey server v=8.1.4 sha=0");
        let found = find_server(Some(&path)).unwrap();
        assert_eq!((found.flavour, found.version), (Flavour::Valkey, Version::new(8, 1, 4)));
        assert_eq!(found.source, Source::Setting);
    }

    #[test]
    fn the_text_for_no_server_holds_the_command_and_the_way_without_questions() {
        let text = not_found_text(&["/bin/x: too old".into()], Some("apt-get install -y redis-server"));
        assert!(text.contains("\n    apt-get install -y redis-server\n") && text.contains("--yes"), "{text}");
        assert!(text.contains("/bin/x: too old"), "{text}");
    }
}
