//! `chatlab redis`: servers that stay up between commands, to look at and to try things on.
//!
//! `up` starts a *supervisor*: this same program, detached, in a session of its own. It owns the servers as `demo` or a
//! test would, so that nothing is left behind whatever ends it, and holds a lock for as long as it lives.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use chatlab_kit::acl;
use chatlab_kit::prereq::{ServerBinary, find_server, state_dir};
use chatlab_kit::servers::process::{Identity, signal};
use chatlab_kit::servers::{Managed, Node, NodeStatus, ServerOptions, Topology, inspect, poll};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal as on_signal};

use super::Global;

/// How long `down` waits for a clean end before it insists.
const STOP_BOUND: Duration = Duration::from_secs(10);
/// The first line that a supervisor says when its servers are ready.
const READY: &str = "ready";

/// Arguments of `chatlab redis`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    chatlab redis up                 one node, then: redis-cli -p PORT\n  \
    chatlab redis up --cluster       3 masters + 3 replicas\n  \
    chatlab redis status --json      what runs, for a script\n  \
    chatlab redis down --all         end them and remove their data\n  \
    CHATLAB_REDIS_PASSWORD=… chatlab redis acl >> users.acl\n  \
                                     the user that a server should be")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Start a Redis server, or a cluster, that stays up
    Up {
        /// Three masters and three replicas instead of one node
        #[arg(long)]
        cluster: bool,
        /// Stay in the foreground; Ctrl-C ends the servers
        #[arg(long)]
        foreground: bool,
    },
    /// End what `up` started; its data goes with it
    Down {
        /// The cluster instead of the single node
        #[arg(long, conflicts_with = "all")]
        cluster: bool,
        /// Both
        #[arg(long)]
        all: bool,
    },
    /// Show what runs; exits with 1 when nothing does
    Status {
        /// Only the cluster
        #[arg(long)]
        cluster: bool,
    },
    /// Print the user that a server should be at Redis, with no more rights than it needs, as a line of an ACL file
    Acl {
        /// Its name
        #[arg(long, default_value = "chatlab", value_name = "NAME")]
        user: String,
        /// Its password, of which only the hash is printed
        #[arg(long, value_name = "PASSWORD", env = "CHATLAB_REDIS_PASSWORD", hide_env_values = true)]
        password: String,
    },
    /// Own the servers (started by `up`)
    #[command(hide = true)]
    Supervise {
        /// Which servers
        #[arg(long)]
        topology: Topology,
        /// The server program
        #[arg(long)]
        server: PathBuf,
    },
}

/// What a supervisor writes down for `status` and `down`.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    supervisor: Identity,
    topology: Topology,
    server: ServerBinary,
    nodes: Vec<Node>,
}

/// Runs `chatlab redis`.
///
/// # Errors
/// What could not be done, for people.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let topology = |cluster: bool| if cluster { Topology::Cluster } else { Topology::Single };
    match args.command {
        Command::Up { cluster, foreground } => up(topology(cluster), foreground, global).await,
        Command::Down { all: true, .. } => down(&Topology::ALL),
        Command::Down { cluster, .. } => down(&[topology(cluster)]),
        Command::Acl { user, password } => {
            anyhow::ensure!(!password.is_empty(), "--password: empty");
            let named = !user.is_empty() && user.chars().all(|c| c.is_ascii_graphic());
            anyhow::ensure!(named, "--user: a name without blanks");
            let rule = acl::rule(&user, &password);
            match global.json {
                true => println!("{}", serde_json::json!({ "user": user, "rule": rule })),
                false => println!("user {rule}"),
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Status { cluster: true } => status(&[Topology::Cluster], global.json),
        Command::Status { cluster: false } => status(&Topology::ALL, global.json),
        Command::Supervise { topology, server } => {
            // A session of its own: the end of the terminal that `up` was typed in is not its end.
            rustix::process::setsid().context("setsid")?;
            let server = find_server(Some(&server))?;
            supervise(topology, server, false, global.json).await
        }
    }
}

async fn up(topology: Topology, foreground: bool, global: &Global) -> anyhow::Result<ExitCode> {
    if let Some(state) = running(topology)? {
        eprintln!("already up");
        announce(&state, global.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (setting, yes) = (global.redis_server.clone(), global.yes);
    let server =
        tokio::task::spawn_blocking(move || super::setup::ensure_server(setting.as_deref(), yes)).await??;
    if foreground {
        return supervise(topology, server, true, global.json).await;
    }
    tokio::task::spawn_blocking(move || detach(topology, &server)).await??;
    let state = running(topology)?.context("the supervisor ended right after its start")?;
    announce(&state, global.json)?;
    Ok(ExitCode::SUCCESS)
}

/// Starts the supervisor and waits until it says that its servers are ready; it bounds that time itself.
fn detach(topology: Topology, server: &ServerBinary) -> anyhow::Result<()> {
    let folder = state_folder()?;
    let log = folder.join(format!("redis-{topology}.log"));
    let log_file = File::create(&log).with_context(|| log.display().to_string())?;
    let mut child = std::process::Command::new(std::env::current_exe()?)
        .args(["redis", "supervise", "--topology", topology.as_str(), "--server"])
        .arg(&server.path)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log_file)
        .spawn()
        .context("starting the supervisor")?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut said)?;
    }
    if said.trim_end() == READY {
        return Ok(());
    }
    let status = child.wait()?;
    let mut why = String::new();
    File::open(&log)?.read_to_string(&mut why)?;
    bail!("the servers did not start ({status})\n{}", why.trim_end())
}

/// Owns the servers until a signal comes.
async fn supervise(
    topology: Topology,
    server: ServerBinary,
    talk: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let _lock = lock(topology)?;
    // Before the servers start, so that no signal meets the default action in between.
    let mut interrupted = on_signal(SignalKind::interrupt())?;
    let mut terminated = on_signal(SignalKind::terminate())?;
    let mut hung_up = on_signal(SignalKind::hangup())?;
    let options = ServerOptions::default();
    let starting = Managed::start_async(topology, &server, &options);
    let ended = async {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
            _ = hung_up.recv() => {}
        }
    };
    tokio::pin!(ended);
    let managed = tokio::select! {
        managed = starting => managed?,
        // The servers that are being started end with this process.
        () = &mut ended => return Ok(ExitCode::SUCCESS),
    };
    let state = State { supervisor: Identity::own(), topology, server, nodes: managed.nodes().to_vec() };
    state.save()?;
    if talk {
        announce(&state, json)?;
        eprintln!("Ctrl-C ends it.");
        ended.await;
    } else if writeln!(std::io::stdout(), "{READY}").is_ok() {
        ended.await;
    }
    // Otherwise `up` was ended while it waited: then nobody wants the servers.
    tokio::task::spawn_blocking(move || managed.stop()).await?;
    State::remove(topology)?;
    Ok(ExitCode::SUCCESS)
}

/// Held while a supervisor lives; the system frees it whatever ends the process.
fn lock(topology: Topology) -> anyhow::Result<File> {
    let path = state_folder()?.join(format!("redis-{topology}.lock"));
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another `chatlab redis up` for {topology} is at work"),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| path.display().to_string()),
    }
}

fn down(topologies: &[Topology]) -> anyhow::Result<ExitCode> {
    for &topology in topologies {
        let Some(state) = running(topology)? else {
            println!("{topology}: not up");
            continue;
        };
        signal(state.supervisor.pid, Signal::TERM);
        let gone = |bound| {
            let alive = || if state.supervisor.is_alive() { Err("alive".to_owned()) } else { Ok(()) };
            poll(bound, alive).is_ok()
        };
        if !gone(STOP_BOUND) {
            // Its servers and their folder go with it all the same.
            signal(state.supervisor.pid, Signal::KILL);
            if !gone(STOP_BOUND) {
                bail!("{topology}: process {} does not end", state.supervisor.pid);
            }
        }
        println!("{topology}: ended");
    }
    Ok(ExitCode::SUCCESS)
}

/// One topology, for `status`.
#[derive(Serialize)]
struct Report {
    topology: Topology,
    up: bool,
    supervisor: Option<Identity>,
    server: Option<ServerBinary>,
    nodes: Vec<NodeReport>,
}

/// One node: as it was started, and as it answers now.
#[derive(Serialize)]
struct NodeReport {
    #[serde(flatten)]
    node: Node,
    now: Option<NodeStatus>,
    error: Option<String>,
}

impl Report {
    fn look(topology: Topology) -> anyhow::Result<Self> {
        let Some(state) = running(topology)? else {
            return Ok(Self { topology, up: false, supervisor: None, server: None, nodes: Vec::new() });
        };
        let look = |node: Node| match inspect(node.port) {
            Ok(now) => NodeReport { node, now: Some(now), error: None },
            Err(why) => NodeReport { node, now: None, error: Some(why) },
        };
        Ok(Self {
            topology,
            up: true,
            supervisor: Some(state.supervisor),
            server: Some(state.server),
            nodes: state.nodes.into_iter().map(look).collect(),
        })
    }
}

fn status(topologies: &[Topology], json: bool) -> anyhow::Result<ExitCode> {
    let reports: Vec<Report> =
        topologies.iter().map(|&topology| Report::look(topology)).collect::<anyhow::Result<_>>()?;
    if json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    } else {
        reports.iter().for_each(print_report);
    }
    let any = reports.iter().any(|report| report.up);
    Ok(if any { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_report(report: &Report) {
    let (Some(supervisor), Some(server)) = (&report.supervisor, &report.server) else {
        println!("{}: not up", report.topology);
        return;
    };
    println!("{}: up, {} {}, supervisor {}", report.topology, server.flavour, server.version, supervisor.pid);
    for NodeReport { node, now, error } in &report.nodes {
        let addr = node.addr();
        let Some(now) = now else {
            println!("  {addr:<16} no answer: {}", error.as_deref().unwrap_or("(no reason)"));
            continue;
        };
        let role = format!("{:?}", now.role).to_lowercase();
        let mib = now.used_memory_bytes as f64 / f64::from(1 << 20);
        let cluster =
            now.cluster_state.as_deref().map_or(String::new(), |state| format!("  cluster {state}"));
        println!("  {addr:<16} {role:<8} {mib:>8.1} MiB  {:>4} clients{cluster}", now.clients);
    }
}

/// Says where the servers are, and what to type next.
fn announce(state: &State, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(state)?);
        return Ok(());
    }
    println!("{} {}, {}:", state.server.flavour, state.server.version, state.topology);
    for node in &state.nodes {
        println!("  {:<16} {}", node.addr(), format!("{:?}", node.initial_role).to_lowercase());
    }
    let port = state.nodes.first().map_or(0, |node| node.port);
    let (follow, flag) = match state.topology {
        Topology::Single => ("", ""),
        Topology::Cluster => ("-c ", " --cluster"),
    };
    println!("Try it:  redis-cli {follow}-p {port}\nEnd it:  chatlab redis down{flag}");
    Ok(())
}

/// The state of a supervisor that is alive. Only the holder of the lock removes or replaces the file.
fn running(topology: Topology) -> anyhow::Result<Option<State>> {
    let path = State::path(topology)?;
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    Ok(serde_json::from_str::<State>(&text).ok().filter(|state| state.supervisor.is_alive()))
}

impl State {
    fn path(topology: Topology) -> anyhow::Result<PathBuf> {
        Ok(state_folder()?.join(format!("redis-{topology}.json")))
    }

    /// In one step: a reader sees the whole file or none.
    fn save(&self) -> anyhow::Result<()> {
        let path = Self::path(self.topology)?;
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
        file.persist(&path).with_context(|| path.display().to_string())?;
        Ok(())
    }

    fn remove(topology: Topology) -> anyhow::Result<()> {
        let path = Self::path(topology)?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| path.display().to_string())
            }
            _ => Ok(()),
        }
    }
}

fn state_folder() -> anyhow::Result<PathBuf> {
    let folder = state_dir();
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}
