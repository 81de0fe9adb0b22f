//! The process of the bare loop that writes: how it is started, and what it does.

use std::{
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    process::{ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use chatlab_load::bare::writer;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// What the writer's process is started with.
const WRITE: [&str; 2] = ["load", "bare-writer"];
/// The line of a writer that listens.
const READY: &str = "listening on ";
/// How long a writer may take from its start to that line.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// The writer's own process: listens, says where, and writes what readers ask for until its input ends. Blocks.
///
/// # Errors
/// When it can't listen.
pub(super) fn write() -> anyhow::Result<ExitCode> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("listening")?;
    chatlab_load::preflight::raise_nofile();
    let mut out = std::io::stdout();
    writeln!(out, "{READY}{}", listener.local_addr()?)?;
    out.flush()?;
    // Whoever started it is gone when its input ends.
    std::thread::Builder::new().name("watch-parent".into()).spawn(|| {
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
        std::process::exit(0);
    })?;
    writer::serve(&listener)?;
    Ok(ExitCode::SUCCESS)
}

/// A running writer. Dropping it ends it.
pub(super) struct Writer {
    child: Child,
    /// `HOST:PORT`.
    pub addr: String,
    pub pid: u32,
}

impl Writer {
    /// Starts one from `program`.
    ///
    /// # Errors
    /// When it does not say where it listens.
    pub(super) async fn start(program: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(program)
            .args(WRITE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {} as the writer", program.display()))?;
        let pid = child.id().context("the writer ended at once")?;
        let stdout = child.stdout.take().context("the writer has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let first = tokio::time::timeout(START_TIMEOUT, lines.next_line())
            .await
            .context("the writer did not say that it listens")??;
        match first.as_deref().and_then(|line| line.strip_prefix(READY)) {
            Some(addr) => Ok(Self { addr: addr.trim().to_owned(), pid, child }),
            None => bail!("the writer did not start (see its messages above)"),
        }
    }

    /// Ends it.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}
