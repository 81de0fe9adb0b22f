//! A set of running servers and their life.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Signal;

use super::janitor::Janitor;
use super::node::{Recipe, StartError, log_tail};
use super::ports::{self, Place, TLS_OFFSET};
use super::resp::Connection;
use super::{Node, Role, ServerError, ServerOptions, Topology, cluster, folder, process};
use crate::prereq::ServerBinary;

/// How often other ports are tried when somebody takes one between the look and the bind.
const PORT_ATTEMPTS: usize = 5;

/// Servers that this process owns. Dropping it ends them and removes their folder; so does the end of the process.
///
/// Tied to no runtime: tests with many runtimes may share one in a static.
#[derive(Debug)]
pub struct Managed {
    topology: Topology,
    folder: PathBuf,
    program: PathBuf,
    nodes: Vec<Node>,
    place: Place,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// By node; `None` after a kill.
    children: Vec<Option<Child>>,
    janitor: Option<Janitor>,
}

impl Managed {
    /// Starts the servers and returns when they are ready: a single node answers; of a cluster all six nodes say
    /// `cluster_state:ok` and every replica has its master's data. Blocks for some milliseconds (single) or two to three
    /// seconds (cluster). Sweeps the folders of dead owners first.
    ///
    /// # Errors
    /// [`ServerError`], with the log of the node that failed. Nothing is left running then.
    pub fn start(topology: Topology, bin: &ServerBinary, opts: &ServerOptions) -> Result<Self, ServerError> {
        for swept in folder::sweep() {
            tracing::info!(folder = %swept.display(), "removed what a dead owner left");
        }
        let mut taken = None;
        for _ in 0..PORT_ATTEMPTS {
            match Self::start_once(topology, bin, opts) {
                Ok(managed) => return Ok(managed),
                Err((StartError::PortTaken, ports)) => taken = Some(ports),
                Err((StartError::Failed(error), _)) => return Err(error),
            }
        }
        Err(ServerError::Timeout {
            what: format!("{PORT_ATTEMPTS} times somebody took a port first, last one of {taken:?}"),
            waited: Duration::ZERO,
            log: String::new(),
        })
    }

    /// [`Managed::start`] for async callers, on a thread for blocking work.
    ///
    /// # Errors
    /// As [`Managed::start`].
    pub async fn start_async(
        topology: Topology,
        bin: &ServerBinary,
        opts: &ServerOptions,
    ) -> Result<Self, ServerError> {
        let (bin, opts) = (bin.clone(), opts.clone());
        let started = tokio::task::spawn_blocking(move || Self::start(topology, &bin, &opts)).await;
        started.unwrap_or_else(|error| {
            Err(ServerError::system("starting servers", std::io::Error::other(error)))
        })
    }

    /// One attempt, on ports of its own. The error carries the ports.
    fn start_once(
        topology: Topology,
        bin: &ServerBinary,
        opts: &ServerOptions,
    ) -> Result<Self, (StartError, Vec<u16>)> {
        let failed = |error| (StartError::Failed(error), Vec::new());
        let clustered = topology == Topology::Cluster;
        let place = ports::free_ports(topology.node_count(), clustered).map_err(failed)?;
        let folder = folder::create().map_err(failed)?;
        // From here on a failure drops `managed`, which ends and removes what is there by then.
        let mut managed = Self {
            topology,
            folder,
            program: bin.path.clone(),
            nodes: Vec::new(),
            place,
            inner: Mutex::new(Inner { children: Vec::new(), janitor: None }),
        };
        match managed.launch(opts) {
            Ok(()) => Ok(managed),
            Err(error) => Err((error, managed.place.ports.clone())),
        }
    }

    fn launch(&mut self, opts: &ServerOptions) -> Result<(), StartError> {
        let clustered = self.topology == Topology::Cluster;
        let janitor = Janitor::start(&self.folder).map_err(StartError::Failed)?;
        self.lock().janitor = Some(janitor);
        for (index, port) in self.place.ports.clone().into_iter().enumerate() {
            let recipe = self.recipe(index, port);
            recipe.prepare(clustered, opts).map_err(StartError::Failed)?;
            let pid = self.spawn(index, &recipe).map_err(StartError::Failed)?;
            let replica = index >= self.topology.master_count();
            let initial_role = if replica { Role::Replica } else { Role::Master };
            self.nodes.push(Node { host: Ipv4Addr::LOCALHOST, port, pid, dir: recipe.dir, initial_role });
        }
        let mut connections = Vec::new();
        for index in 0..self.nodes.len() {
            connections.push(self.await_answer(index)?);
        }
        if clustered {
            cluster::join(&self.nodes, &mut connections, opts.tls.is_some()).map_err(StartError::Failed)?;
            cluster::await_whole_after_start(&self.nodes).map_err(StartError::Failed)?;
        }
        Ok(())
    }

    fn recipe(&self, index: usize, port: u16) -> Recipe {
        let dir = self.folder.join(format!("node-{index}"));
        Recipe { program: self.program.clone(), dir, port }
    }

    /// Starts a process and gives it to the janitor.
    fn spawn(&self, index: usize, recipe: &Recipe) -> Result<u32, ServerError> {
        let child = recipe.spawn()?;
        let pid = child.id();
        let mut inner = self.lock();
        if inner.children.len() <= index {
            inner.children.resize_with(index + 1, || None);
        }
        inner.children[index] = Some(child);
        match inner.janitor.as_mut() {
            Some(janitor) => janitor.watch(pid)?,
            None => return Err(ServerError::system("no janitor", std::io::Error::other("not started"))),
        }
        Ok(pid)
    }

    fn await_answer(&self, index: usize) -> Result<Connection, StartError> {
        let recipe = self.recipe(index, self.nodes[index].port);
        let mut inner = self.lock();
        match inner.children[index].as_mut() {
            Some(child) => recipe.await_answer(child),
            None => {
                Err(StartError::Failed(ServerError::Died { port: recipe.port, log: log_tail(&recipe.dir) }))
            }
        }
    }

    /// A panic elsewhere must not keep servers alive: a poisoned lock is taken all the same.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was started.
    pub fn topology(&self) -> Topology {
        self.topology
    }

    /// The nodes; of a cluster the three first masters come first, and node `i + 3` replicated node `i` at the start.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// `127.0.0.1:PORT` of every node.
    pub fn addrs(&self) -> Vec<String> {
        self.nodes.iter().map(Node::addr).collect()
    }

    /// Where every node speaks TLS, if it was started so.
    pub fn tls_addrs(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("{}:{}", node.host, node.port + TLS_OFFSET)).collect()
    }

    /// The folder that everything is in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The process of node `index` that runs now; `None` after a kill.
    pub fn pid(&self, index: usize) -> Option<u32> {
        let mut inner = self.lock();
        let child = inner.children.get_mut(index)?.as_mut()?;
        matches!(child.try_wait(), Ok(None)).then(|| child.id())
    }

    /// Ends node `index` by `SIGKILL`, as a crash would, and returns when it is gone. Again: no effect.
    ///
    /// # Errors
    /// [`ServerError::NoNode`], or what the operating system says.
    pub fn kill_node(&self, index: usize) -> Result<(), ServerError> {
        self.check(index)?;
        let child = self.lock().children[index].take();
        child.map_or(Ok(()), |child| {
            end(child).map_err(|source| ServerError::system("killing a node", source))
        })
    }

    /// Starts node `index` again after a kill, on its port and in its folder, and returns when it answers. A cluster needs
    /// some time more until it is whole: [`Managed::await_whole`].
    ///
    /// A master that restarts without persistence restarts *empty*, and its replica then copies the emptiness, unless the
    /// replica was promoted before.
    ///
    /// # Errors
    /// [`ServerError`]; also when somebody took the port meanwhile.
    pub fn restart_node(&self, index: usize) -> Result<(), ServerError> {
        self.kill_node(index)?;
        let port = self.nodes[index].port;
        let recipe = self.recipe(index, port);
        self.spawn(index, &recipe)?;
        match self.await_answer(index) {
            Ok(_) => Ok(()),
            Err(StartError::Failed(error)) => Err(error),
            Err(StartError::PortTaken) => Err(ServerError::Died { port, log: log_tail(&recipe.dir) }),
        }
    }

    /// Stops node `index` from running (`SIGSTOP`): its connections stay open and nothing answers, as with a partition.
    ///
    /// # Errors
    /// [`ServerError`] when there is no such node or it was killed.
    pub fn pause_node(&self, index: usize) -> Result<(), ServerError> {
        self.signal(index, Signal::STOP)
    }

    /// Lets a paused node run on (`SIGCONT`).
    ///
    /// # Errors
    /// [`ServerError`] when there is no such node or it was killed.
    pub fn resume_node(&self, index: usize) -> Result<(), ServerError> {
        self.signal(index, Signal::CONT)
    }

    /// Waits until all nodes answer; of a cluster, until it is whole again as every node sees it, in whatever roles.
    ///
    /// # Errors
    /// [`ServerError::Timeout`] after `bound`, counted anew for each node, with what is missing.
    pub fn await_whole(&self, bound: Duration) -> Result<(), ServerError> {
        for index in 0..self.nodes.len() {
            self.await_answer(index).map_err(|error| match error {
                StartError::Failed(error) => error,
                StartError::PortTaken => {
                    ServerError::Died { port: self.nodes[index].port, log: self.log_tail(index) }
                }
            })?;
        }
        match self.topology {
            Topology::Single => Ok(()),
            Topology::Cluster => cluster::await_whole(&self.nodes, bound),
        }
    }

    /// The last lines of the log of node `index`.
    pub fn log_tail(&self, index: usize) -> String {
        self.nodes.get(index).map(|node| log_tail(&node.dir)).unwrap_or_default()
    }

    /// Ends the servers and removes their folder; the same as dropping it, in words.
    pub fn stop(self) {
        drop(self);
    }

    fn check(&self, index: usize) -> Result<(), ServerError> {
        let count = self.nodes.len();
        if index < count { Ok(()) } else { Err(ServerError::NoNode { index, count }) }
    }

    fn signal(&self, index: usize, signal: Signal) -> Result<(), ServerError> {
        self.check(index)?;
        // Under the lock, and only while the child is not reaped: its pid cannot belong to anybody else.
        let inner = self.lock();
        let pid = inner.children[index].as_ref().map(Child::id);
        if pid.is_some_and(|pid| process::signal(pid, signal)) {
            return Ok(());
        }
        let gone = std::io::Error::other("it does not run");
        Err(ServerError::system(format!("signalling node {index}"), gone))
    }
}

/// `SIGKILL` also ends a paused process. Waiting leaves no zombie behind.
fn end(mut child: Child) -> std::io::Result<()> {
    child.kill()?;
    child.wait().map(drop)
}

impl Drop for Managed {
    fn drop(&mut self) {
        let mut inner = self.lock();
        let mut children: Vec<Child> = inner.children.iter_mut().filter_map(Option::take).collect();
        for child in &mut children {
            let _ = child.kill();
        }
        for mut child in children {
            let _ = child.wait();
        }
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            // The janitor tries again in a moment.
            tracing::debug!(folder = %self.folder.display(), %error, "could not remove the folder");
        }
        inner.janitor.take();
    }
}
