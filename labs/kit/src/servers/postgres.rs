//! A PostgreSQL server of our own, for tests of what is kept in SQL.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use super::janitor::Janitor;
use super::poll::poll;
use super::ports::{self, Place};
use super::spawn::spawn_bound;
use super::{ServerError, folder, node};
use crate::prereq::POSTGRES;

/// From its start until it takes connections.
const READY_BOUND: Duration = Duration::from_secs(30);
/// How long it gets to end in order.
const STOP_BOUND: Duration = Duration::from_secs(5);
/// How often other ports are tried when somebody takes one between the look and the bind.
const PORT_ATTEMPTS: usize = 5;
/// It may do all.
const USER: &str = "chatlab";
/// The server refuses to run as root; then this user, which packages of it make, runs it.
const UNPRIVILEGED: &str = "postgres";
/// Its log, in its folder.
const LOG_FILE: &str = "postgres.log";
/// The first version that can be told to order text as a language does, whatever locales the system has.
const WITH_ICU: u32 = 15;

/// Nothing is to survive a crash of the machine, and many tests share one server. Text is compared as it would be by the rules
/// of a language: what relies on another order must say so.
const SETTINGS: [&str; 8] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "autovacuum=off",
    "shared_buffers=64MB",
    "max_connections=400",
];

/// A server that this process owns: it listens on loopback, lets everybody in, and ends with this process, however that ends.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
    janitor: Option<Janitor>,
    _place: Place,
}

/// A start that did not work out.
enum StartError {
    PortTaken(String),
    Failed(ServerError),
}

impl From<ServerError> for StartError {
    fn from(error: ServerError) -> Self {
        Self::Failed(error)
    }
}

impl Postgres {
    /// Makes a fresh server and returns when it takes connections: a second or two. Blocks.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, with what to do; or its own words. Nothing is left running then.
    pub fn start() -> Result<Self, ServerError> {
        let (server, version) = POSTGRES.find().map_err(|why| not_there(&why))?;
        let newest = version.split(' ').find_map(|word| word.split('.').next()?.parse::<u32>().ok());
        let icu = newest.is_some_and(|major| major >= WITH_ICU);
        folder::sweep();
        let mut said = String::new();
        for _ in 0..PORT_ATTEMPTS {
            match Self::start_once(&server, icu) {
                Ok(started) => return Ok(started),
                Err(StartError::PortTaken(log)) => said = log,
                Err(StartError::Failed(error)) => return Err(error),
            }
        }
        let what = format!("{PORT_ATTEMPTS} times somebody took a port first");
        Err(ServerError::Timeout { what, waited: Duration::ZERO, log: said })
    }

    /// Where a database of this name is.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    fn start_once(server: &Path, icu: bool) -> Result<Self, StartError> {
        let place = ports::free_ports(1, false)?;
        let port = place.ports[0];
        let folder = folder::create()?;
        // From here on a failure drops it, which ends and removes what is there by then.
        let mut started = Self { folder, port, child: None, janitor: None, _place: place };
        started.janitor = Some(Janitor::start(&started.folder)?);
        let data = started.folder.join("postgres");
        std::fs::create_dir(&data).map_err(|source| ServerError::io(&data, source))?;
        let runs_as = unprivileged()?;
        if let Some((uid, gid)) = runs_as {
            // It must come to its data, and needs to see nothing else in there.
            std::fs::set_permissions(&started.folder, Permissions::from_mode(0o711))
                .and_then(|()| chown(&data, Some(uid), Some(gid)))
                .map_err(|source| ServerError::io(&data, source))?;
        }
        init(server, &data, runs_as, icu)?;
        started.run(server, &data, runs_as)?;
        Ok(started)
    }

    fn run(&mut self, server: &Path, data: &Path, runs_as: Option<(u32, u32)>) -> Result<(), StartError> {
        let path = self.folder.join(LOG_FILE);
        let log = File::create(&path).and_then(|log| Ok((log.try_clone()?, log)));
        let (log, second) = log.map_err(|source| ServerError::io(&path, source))?;
        let port = self.port.to_string();
        let mut command = command(server, runs_as, data);
        command.arg("-D").arg(data).args(["-p", &port]);
        command.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        command.stdin(Stdio::null()).stdout(log).stderr(second);
        // It takes its memory with it, which a plain kill would leave to the system.
        let spawned = spawn_bound(command, Signal::QUIT);
        let program = server.display().to_string();
        let child = spawned.map_err(|source| ServerError::Spawn { program, source })?;
        // Where the kernel does not tell it, the janitor does.
        if !cfg!(target_os = "linux")
            && let Some(janitor) = self.janitor.as_mut()
        {
            janitor.watch(child.id())?;
        }
        let child = self.child.insert(child);
        let state = data.join("postmaster.pid");
        let answered = poll(READY_BOUND, || {
            if !matches!(child.try_wait(), Ok(None)) {
                return Ok(false);
            }
            let text = std::fs::read_to_string(&state).map_err(|error| error.to_string())?;
            if is_ready(&text, child.id()) { Ok(true) } else { Err(format!("it says {text:?}")) }
        });
        match answered {
            Ok(true) => Ok(()),
            Ok(false) => {
                let log = node::tail_of(&path);
                let taken = log.contains("Address already in use");
                let died = ServerError::Died { port: self.port, log: log.clone() };
                Err(if taken { StartError::PortTaken(log) } else { died.into() })
            }
            Err((seen, waited)) => {
                let what = format!("the PostgreSQL server on port {} is not ready: {seen}", self.port);
                Err(ServerError::Timeout { what, waited, log: node::tail_of(&path) }.into())
            }
        }
    }
}

fn not_there(why: &str) -> ServerError {
    ServerError::system(
        "no PostgreSQL server to test with: `cargo lab test --yes postgres` installs one (on Debian: apt-get install \
         postgresql)",
        std::io::Error::other(why.to_owned()),
    )
}

/// The eighth line of its own file says so; the first one whose file it is.
fn is_ready(state: &str, pid: u32) -> bool {
    let mut lines = state.lines().map(str::trim);
    lines.next() == Some(&pid.to_string()) && lines.nth(6) == Some("ready")
}

/// Who runs it when we are root: a user and a group.
fn unprivileged() -> Result<Option<(u32, u32)>, ServerError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let path = Path::new("/etc/passwd");
    let users = std::fs::read_to_string(path).map_err(|source| ServerError::io(path, source))?;
    let found = users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields[..] {
            [UNPRIVILEGED, _, uid, gid, ..] => Some((uid.parse().ok()?, gid.parse().ok()?)),
            _ => None,
        }
    });
    let none = || format!("there is no user {UNPRIVILEGED}, and a PostgreSQL server does not run as root");
    found.map(Some).ok_or_else(|| ServerError::system("starting PostgreSQL", std::io::Error::other(none())))
}

fn command(program: impl AsRef<OsStr>, runs_as: Option<(u32, u32)>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = runs_as {
        command.uid(uid).gid(gid);
    }
    // What the environment says about other servers is not meant for this one.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        command.env_remove(name);
    }
    command.current_dir(folder);
    command
}

/// Makes the files of a fresh server.
fn init(server: &Path, data: &Path, runs_as: Option<(u32, u32)>, icu: bool) -> Result<(), ServerError> {
    // Beside the server as it is installed: a link on PATH may stand alone.
    let server = server.canonicalize().map_err(|source| ServerError::io(server, source))?;
    let program = server.with_file_name("initdb");
    let mut command = command(&program, runs_as, data);
    command.args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--username", USER, "-D"]);
    command.arg(data);
    if icu {
        command.args(["--locale-provider=icu", "--icu-locale=en"]);
    }
    let output = command.stdin(Stdio::null()).output();
    let output =
        output.map_err(|source| ServerError::Spawn { program: program.display().to_string(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ServerError::system(program.display().to_string(), std::io::Error::other(said)))
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            super::process::signal(child.id(), Signal::QUIT);
            let ended = poll(STOP_BOUND, || match child.try_wait() {
                Ok(None) => Err(String::new()),
                _ => Ok(()),
            });
            if ended.is_err() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        let _ = std::fs::remove_dir_all(&self.folder);
        self.janitor.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_its_own_file_says_so() {
        let state = |status: &str| format!("7\n/data\n1\n5432\n\n127.0.0.1\n 99 1\n{status}\n");
        assert!(is_ready(&state("ready   "), 7));
        assert!(!is_ready(&state("starting"), 7) && !is_ready(&state("ready"), 8) && !is_ready("", 7));
    }

    #[test]
    fn what_is_dropped_is_gone() {
        let server = Postgres::start().unwrap();
        let (folder, port) = (server.folder.clone(), server.port);
        assert_eq!(server.url("a"), format!("postgres://chatlab@127.0.0.1:{port}/a"));
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        drop(server);
        assert!(!folder.exists());
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}
