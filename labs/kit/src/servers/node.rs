//! One server process: its configuration, its start, its log.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use super::poll::poll;
use super::ports::{BUS_OFFSET, TLS_OFFSET};
use super::resp::{Connection, field};
use super::spawn::spawn_bound;
use super::{ServerError, ServerOptions};

/// From spawn to the first answer. A few milliseconds alone, much more on a machine that compiles meanwhile.
const ANSWER_BOUND: Duration = Duration::from_secs(15);
/// How much of a log an error quotes.
const TAIL_LINES: usize = 20;
/// The log of a node, in its folder: what the server says, also before its configuration is read.
const LOG_FILE: &str = "redis.log";

/// What a node of a cluster knows of it, in its folder.
pub(super) const NODES_FILE: &str = "nodes.conf";

/// What a node's process is started with, the same at every start.
pub(super) struct Recipe {
    pub(super) program: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) port: u16,
}

/// A start that did not work out.
pub(super) enum StartError {
    /// Somebody else took the port meanwhile: other ports, another try.
    PortTaken,
    /// Anything that another try would not change.
    Failed(ServerError),
}

impl Recipe {
    /// Makes the node's folder and its `redis.conf`.
    pub(super) fn prepare(&self, clustered: bool, options: &ServerOptions) -> Result<(), ServerError> {
        std::fs::create_dir_all(&self.dir).map_err(|source| ServerError::io(&self.dir, source))?;
        let file = self.config_file();
        let text = config_text(self, clustered, options);
        File::create(&file)
            .and_then(|mut open| open.write_all(text.as_bytes()))
            .map_err(|source| ServerError::io(&file, source))
    }

    fn config_file(&self) -> PathBuf {
        self.dir.join("redis.conf")
    }

    /// Starts the process; it does not answer yet.
    pub(super) fn spawn(&self) -> Result<Child, ServerError> {
        let path = self.dir.join(LOG_FILE);
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let log = log.map_err(|source| ServerError::io(&path, source))?;
        let second = log.try_clone().map_err(|source| ServerError::io(&path, source))?;
        let mut command = Command::new(&self.program);
        // The folder stays visible in the command line, by which the janitor knows its own.
        command.arg(self.config_file()).current_dir(&self.dir);
        command.stdin(Stdio::null()).stdout(log).stderr(second);
        let program = self.program.display().to_string();
        spawn_bound(command, Signal::KILL).map_err(|source| ServerError::Spawn { program, source })
    }

    /// Waits until this very process answers on its port. An answer alone proves nothing: the port may have gone to a
    /// server of somebody else between the look and the bind.
    pub(super) fn await_answer(&self, child: &mut Child) -> Result<Connection, StartError> {
        enum Seen {
            Answer(Connection),
            Ended,
        }
        let pid = child.id().to_string();
        let outcome = poll(ANSWER_BOUND, || {
            if !matches!(child.try_wait(), Ok(None)) {
                return Ok(Seen::Ended);
            }
            let mut connection = Connection::open(self.port).map_err(|error| error.to_string())?;
            let info = connection.call(&["INFO"]).map_err(|error| error.to_string())??;
            match field(&info, "process_id") {
                // INFO answers while a restarted node still reads its file; nothing else does.
                Some(answering) if answering == pid && field(&info, "loading") != Some("0") => {
                    Err(format!("process {pid} is reading its data"))
                }
                Some(answering) if answering == pid => Ok(Seen::Answer(connection)),
                other => Err(format!("process {other:?} answers in the place of {pid}")),
            }
        });
        match outcome {
            Ok(Seen::Answer(connection)) => Ok(connection),
            Ok(Seen::Ended) => {
                let log = log_tail(&self.dir);
                let taken =
                    log.contains("Address already in use") || log.contains("Failed listening on port");
                let died = ServerError::Died { port: self.port, log };
                Err(if taken { StartError::PortTaken } else { StartError::Failed(died) })
            }
            Err((seen, waited)) => Err(StartError::Failed(ServerError::Timeout {
                what: format!("the server on port {} does not answer: {seen}", self.port),
                waited,
                log: log_tail(&self.dir),
            })),
        }
    }
}

fn config_text(recipe: &Recipe, clustered: bool, options: &ServerOptions) -> String {
    let mut lines = vec![
        format!("port {}", recipe.port),
        "bind 127.0.0.1".to_owned(),
        "protected-mode yes".to_owned(),
        "daemonize no".to_owned(),
        format!("dir {}", quoted(&recipe.dir)),
        format!("pidfile {}", quoted(&recipe.dir.join("redis.pid"))),
        "logfile \"\"".to_owned(),
        "set-proc-title no".to_owned(),
        // Replicas of a test cluster sync at once; the default waits 5 s for more replicas to come.
        "repl-diskless-sync-delay 0".to_owned(),
    ];
    if options.persistence {
        lines.push("appendonly yes".to_owned());
    } else {
        lines.push("save \"\"".to_owned());
        lines.push("appendonly no".to_owned());
    }
    if clustered {
        lines.push("cluster-enabled yes".to_owned());
        lines.push(format!("cluster-config-file {NODES_FILE}"));
        lines.push(format!("cluster-node-timeout {}", options.cluster_node_timeout_ms));
    }
    if let Some(folder) = &options.tls {
        lines.push(format!("tls-port {}", recipe.port + TLS_OFFSET));
        for (name, file) in [("cert", "redis.crt"), ("key", "redis.key"), ("ca-cert", "ca.crt")] {
            lines.push(format!("tls-{name}-file {}", quoted(&folder.join(file))));
        }
        // Who comes shows a password, and no certificate.
        lines.push("tls-auth-clients no".to_owned());
        if clustered {
            // Nodes talk by TLS among themselves; and only so do they tell a client that came by TLS the others' ports for it.
            lines.extend(["tls-cluster yes", "tls-replication yes"].map(str::to_owned));
            // Where it would be without TLS; otherwise it is so much above the port for TLS.
            lines.push(format!("cluster-port {}", recipe.port + BUS_OFFSET));
        }
    }
    lines.extend(options.extra.iter().map(|(name, value)| format!("{name} {value}")));
    lines.join("\n") + "\n"
}

/// A path as `redis.conf` reads it back.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('\\', r"\\").replace('"', "\\\""))
}

/// The last lines of a node's log, or a note on why there are none.
pub(super) fn log_tail(dir: &Path) -> String {
    tail_of(&dir.join(LOG_FILE))
}

/// The same of any log.
pub(super) fn tail_of(path: &Path) -> String {
    match std::fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
        }
        Err(error) => format!("({}: {error})", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(options: &ServerOptions, clustered: bool) -> String {
        let recipe = Recipe { program: "redis-server".into(), dir: "/tmp/a \"b\"".into(), port: 10_001 };
        config_text(&recipe, clustered, options)
    }

    #[test]
    fn nothing_is_written_to_disk_unless_asked_for() {
        let plain = text(&ServerOptions::default(), false);
        assert!(
            plain.contains("save \"\"\nappendonly no\n") && !plain.contains("cluster-enabled"),
            "{plain}"
        );
        let kept = text(&ServerOptions { persistence: true, ..ServerOptions::default() }, true);
        assert!(kept.contains("appendonly yes\n") && kept.contains("cluster-node-timeout 2000\n"), "{kept}");
    }

    #[test]
    fn nodes_that_speak_tls_speak_it_among_themselves() {
        let options = ServerOptions { tls: Some("/tls".into()), ..ServerOptions::default() };
        let (single, cluster) = (text(&options, false), text(&options, true));
        assert!(single.contains("tls-port 10011\n") && !single.contains("tls-cluster"), "{single}");
        assert!(cluster.contains("tls-cluster yes\ntls-replication yes\ncluster-port 20001\n"), "{cluster}");
    }

    #[test]
    fn extra_settings_come_last_so_that_they_win() {
        let extra = vec![("maxmemory".to_owned(), "10mb".to_owned())];
        assert!(
            text(&ServerOptions { extra, ..ServerOptions::default() }, false).ends_with("maxmemory 10mb\n")
        );
    }

    #[test]
    fn folders_with_blanks_and_quotes_are_quoted() {
        assert!(text(&ServerOptions::default(), false).contains(r#"dir "/tmp/a \"b\"""#));
    }
}
