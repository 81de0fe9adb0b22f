//! Chat servers of others beside ours: fetched with the user's consent, started on a Redis of their own.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use chatlab_kit::{
    prereq::{self, ServerBinary},
    servers::{Managed, ServerOptions, Topology},
};
use chatlab_load::peers::Peer;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::window::Elsewhere;

/// The oldest Node.js that the peers' packages run on.
const MIN_NODE_MAJOR: u32 = 18;
/// What fetches a peer's packages: exactly those of its lock file, and no script of theirs is run.
const FETCH: [&str; 6] =
    ["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
/// How long a peer may take from its start to its first line, and to its end.
const START_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The line of a peer that is ready: `READY port pid`.
const READY: &str = "READY ";

/// Where a peer's files are, once they were fetched.
pub fn folder(peer: &Peer) -> PathBuf {
    prereq::cache_dir().join("peers").join(format!("{}-{}", peer.name, peer.version()))
}

/// Whether a peer can be started without fetching anything.
fn is_there(folder: &Path) -> bool {
    folder.join("node_modules").is_dir()
}

/// What is missing on this machine, in words; none when nothing is.
pub fn missing() -> Option<String> {
    let wanted = format!(
        "a peer needs Node.js {MIN_NODE_MAJOR} or newer with npm on PATH (Debian: apt-get install nodejs npm)"
    );
    let absent: Vec<_> = ["node", "npm"].into_iter().filter(|name| prereq::on_path(name).is_none()).collect();
    if !absent.is_empty() {
        return Some(format!("there is no {}: {wanted}", absent.join(" and no ")));
    }
    let version = prereq::output_of(Path::new("node"), &["--version"]).unwrap_or_default();
    match major(&version) {
        Some(major) if major >= MIN_NODE_MAJOR => None,
        _ => Some(format!("node says it is `{}`: {wanted}", version.trim())),
    }
}

/// `v20.1.0` → 20.
fn major(version: &str) -> Option<u32> {
    version.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// Makes sure that a peer can be started: fetches its packages where they are not there yet, with `yes`, or when the user says so.
/// Blocks.
///
/// # Errors
/// What is missing or went wrong, with what to type.
pub fn ensure(peer: &Peer, yes: bool) -> anyhow::Result<()> {
    if let Some(missing) = missing() {
        bail!("peer:{}: {missing}", peer.name);
    }
    let folder = folder(peer);
    if is_there(&folder) {
        return Ok(());
    }
    let line = format!("npm {}", FETCH.join(" "));
    let question = format!(
        "peer:{} ({}) needs packages of npm. Fetch them now into {} by\n\n    {line}\n",
        peer.name,
        peer.title,
        folder.display()
    );
    if !(yes || consents(&question)?) {
        bail!("{question}\nGive this command --yes, and chatlab does exactly that.");
    }
    fetch(peer, &folder).with_context(|| format!("fetching peer:{} by `{line}`", peer.name))
}

/// Asks on standard error, so that standard output stays the command's own. Without a terminal the answer is no.
fn consents(question: &str) -> anyhow::Result<bool> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Ok(false);
    }
    let mut screen = std::io::stderr();
    write!(screen, "{question}\n[y/N] ")?;
    screen.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// In a folder beside the last one, which appears only when it is whole.
fn fetch(peer: &Peer, folder: &Path) -> anyhow::Result<()> {
    let parent = folder.parent().context("the cache folder has no parent")?;
    fs::create_dir_all(parent)?;
    let work = tempfile::Builder::new().prefix("fetch-").tempdir_in(parent)?;
    let whole = work.path().join(peer.name);
    fs::create_dir(&whole)?;
    for (name, text) in peer.files {
        fs::write(whole.join(name), text)?;
    }
    let output =
        std::process::Command::new("npm").args(FETCH).current_dir(&whole).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    match fs::rename(&whole, folder) {
        // Two at once end with one of them.
        Err(_) if is_there(folder) => Ok(()),
        renamed => Ok(renamed?),
    }
}

/// A peer that runs, on a Redis of its own. Dropping it ends both.
pub(super) struct PeerServer {
    // Order matters: the server goes before Redis does.
    child: Child,
    managed: Managed,
    /// How to reach it, and what to observe.
    pub elsewhere: Elsewhere,
}

impl PeerServer {
    /// Starts Redis, then the peer.
    ///
    /// # Errors
    /// When one of them does not come up.
    pub(super) async fn start(
        peer: &Peer,
        redis: &ServerBinary,
        options: &ServerOptions,
    ) -> anyhow::Result<Self> {
        let managed = Managed::start_async(Topology::Single, redis, options).await?;
        let node = managed.addrs().into_iter().next().context("there is no Redis node")?;
        let secret = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let mut child = Command::new("node")
            .arg(peer.main)
            .current_dir(folder(peer))
            .env("NODE_ENV", "production")
            .env("PORT", "0")
            .env("REDIS_URL", format!("redis://{node}"))
            .env("JWT_SECRET", &secret)
            // The pipe that nobody writes to: it closes when this process ends, however it ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting peer:{}", peer.name))?;
        let stdout = child.stdout.take().context("the peer has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let first = tokio::time::timeout(START_TIMEOUT, lines.next_line())
            .await
            .context("the peer did not say that it is ready")??;
        let (port, pid) = first
            .as_deref()
            .and_then(ready)
            .with_context(|| format!("peer:{} did not start (see its messages above)", peer.name))?;
        let elsewhere = Elsewhere {
            url: format!("ws://127.0.0.1:{port}/"),
            dialect: Some(peer.dialect()?),
            pids: vec![pid],
            secret: Some(secret),
            redis_pids: (0..managed.nodes().len()).filter_map(|i| managed.pid(i)).collect(),
            redis_nodes: managed.addrs(),
            labels: BTreeMap::from([
                ("topology".to_owned(), Topology::Single.to_string()),
                ("server".to_owned(), format!("{} {}", redis.flavour, redis.version)),
                ("peer".to_owned(), peer.title.to_owned()),
            ]),
        };
        Ok(Self { child, managed, elsewhere })
    }

    /// Ends the peer, then Redis.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        if tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        let managed = self.managed;
        Ok(tokio::task::spawn_blocking(move || managed.stop()).await?)
    }
}

/// Port and process out of the first line.
fn ready(line: &str) -> Option<(u16, u32)> {
    let (port, pid) = line.strip_prefix(READY)?.trim().split_once(' ')?;
    Some((port.parse().ok()?, pid.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_names_port_and_process() {
        assert_eq!(ready("READY 41000 77"), Some((41000, 77)));
        for line in ["", "READY", "READY 41000", "READY x 1", "Error: no"] {
            assert_eq!(ready(line), None, "{line}");
        }
        assert_eq!(
            (major("v20.20.2\n"), major("v6"), major("20"), major("")),
            (Some(20), Some(6), None, None)
        );
    }
}
