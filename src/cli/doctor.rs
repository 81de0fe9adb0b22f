//! `chatlab doctor`: what is here, what is missing, and what each missing thing would enable.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chatlab_kit::prereq::{PYTHON_VENV, ServerBinary, Version, beside_path, find_server, on_path, output_of};
use comfy_table::{ContentArrangement, Table, presets};
use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use super::Global;

/// The width of the report, on a terminal and in a file alike.
const WIDTH: u16 = 80;
/// Descriptors that a process needs for itself: logs, listeners, its own connections to Redis and SQL.
const OWN_DESCRIPTORS: u64 = 100;

/// How much of a program's complaint fits into its row.
const QUOTED_CHARS: usize = 60;

/// Arguments of `chatlab doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exits with 0 when chatlab can run here, with 1 when there is no Redis server.\n\n\
    With --yes it gets a missing Redis server first.\n\n\
    Examples:\n  chatlab doctor\n  chatlab doctor --json")]
pub struct Args {}

/// One program.
#[derive(Debug, Serialize)]
struct Prerequisite {
    name: &'static str,
    needed: bool,
    path: Option<PathBuf>,
    version: Option<String>,
    enables: &'static str,
    /// How to get it, or what is wrong with it.
    advice: Option<String>,
}

/// One bound that the system sets.
#[derive(Debug, Serialize)]
struct Limit {
    name: &'static str,
    value: String,
    meaning: String,
}

#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    /// Why there is no server, and what to do about it.
    problem: Option<String>,
    prerequisites: Vec<Prerequisite>,
    limits: Vec<Limit>,
}

/// Runs `chatlab doctor`.
///
/// # Errors
/// None but those of printing.
pub async fn run(_args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let (setting, yes) = (global.redis_server.clone(), global.yes);
    let report = tokio::task::spawn_blocking(move || examine(setting.as_deref(), yes)).await?;
    if global.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn examine(setting: Option<&Path>, yes: bool) -> Report {
    // Without consent this only looks: a doctor asks no questions.
    let found = if yes {
        super::setup::ensure_server(setting, true).map_err(|error| format!("{error:#}"))
    } else {
        find_server(setting).map_err(|error| error.to_string())
    };
    let problem = found.as_ref().err().cloned();
    let mut prerequisites = vec![redis_server(found.ok())];
    prerequisites.extend(PROGRAMS.iter().map(Program::examine));
    Report { ok: problem.is_none(), problem, prerequisites, limits: limits() }
}

fn redis_server(found: Option<ServerBinary>) -> Prerequisite {
    Prerequisite {
        name: "redis or valkey server",
        needed: true,
        version: found.as_ref().map(|server| format!("{} {}", server.flavour, server.version)),
        advice: found.is_none().then(|| "see below".to_owned()),
        path: found.map(|server| server.path),
        enables: "everything",
    }
}

/// An optional program and how to ask it for its version.
struct Program {
    name: &'static str,
    commands: &'static [&'static str],
    arguments: &'static [&'static str],
    enables: &'static str,
    get: &'static str,
}

const PROGRAMS: [Program; 9] = [
    Program {
        name: "redis-cli",
        commands: &["redis-cli", "valkey-cli"],
        arguments: &["--version"],
        enables: "trying a lab's commands by hand",
        get: "package redis-tools, redis or valkey",
    },
    Program {
        name: "python3 with pip",
        commands: &["python3"],
        arguments: &["-m", "pip", "--version"],
        enables: "a private Redis server without root",
        get: "packages python3 and python3-pip",
    },
    Program {
        name: "docker engine",
        commands: &["docker"],
        arguments: &["version", "--format", "{{.Server.Version}}"],
        enables: "the container tests",
        get: "package docker.io or docker, then start dockerd",
    },
    Program {
        name: "chromium",
        commands: &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
        arguments: &["--version"],
        enables: "the tests of the page in a browser",
        get: "package chromium",
    },
    Program {
        name: "postgres server",
        commands: &["postgres"],
        arguments: &["--version"],
        enables: "the archive on PostgreSQL (else SQLite)",
        get: "package postgresql",
    },
    Program {
        name: "psql",
        commands: &["psql"],
        arguments: &["--version"],
        enables: "looking into a PostgreSQL archive",
        get: "package postgresql-client",
    },
    Program {
        name: "node",
        commands: &["node", "nodejs"],
        arguments: &["--version"],
        enables: "for tests only: the official Socket.IO client; comparisons with peers",
        get: "package nodejs",
    },
    Program {
        name: "npm",
        commands: &["npm"],
        arguments: &["--version"],
        enables: "for tests only: getting that client",
        get: "package npm",
    },
    Program {
        name: "python3 with venv",
        commands: &["python3"],
        arguments: PYTHON_VENV.arguments,
        enables: "for tests only: python-socketio",
        get: "packages python3 and python3-venv",
    },
];

impl Program {
    fn examine(&self) -> Prerequisite {
        let path = self
            .commands
            .iter()
            .find_map(|name| on_path(name))
            .or_else(|| self.commands.iter().find_map(|name| beside_path(name)));
        let answer = match &path {
            Some(path) => output_of(path, self.arguments),
            None => Err(format!("get it: {}", self.get)),
        };
        let version = answer.as_ref().ok().map(|text| short_version(text));
        let advice = answer.err().map(|why| if path.is_some() { self.unusable(&why) } else { why });
        let path = path.filter(|_| version.is_some());
        Prerequisite { name: self.name, needed: false, path, version, enables: self.enables, advice }
    }

    fn unusable(&self, why: &str) -> String {
        let last: String = why.lines().last().unwrap_or(why).chars().take(QUOTED_CHARS).collect();
        format!("not usable: {last} (wanted: {})", self.get)
    }
}

/// `psql (PostgreSQL) 15.14 (Debian 15…)` → `15.14`: the first word that starts with digits and a dot.
fn short_version(text: &str) -> String {
    let numbers = |word: &str| word.trim_start_matches('v').trim_end_matches(',').to_owned();
    let is_version = |word: &String| word.contains('.') && Version::parse_prefix(word).is_some();
    let line = text.lines().next().unwrap_or_default();
    line.split_whitespace().map(numbers).find(is_version).unwrap_or_else(|| line.trim().to_owned())
}

fn limits() -> Vec<Limit> {
    let mut limits = vec![open_files()];
    limits.extend(ephemeral_ports());
    limits.extend(backlog());
    limits.push(cores());
    limits.extend(memory());
    limits.extend(overcommit());
    limits
}

fn open_files() -> Limit {
    let nofile = getrlimit(Resource::Nofile);
    let show = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    // Server and generator are processes of their own: each spends one descriptor on a connection.
    let connections = |limit: Option<u64>| show(limit.map(|limit| limit.saturating_sub(OWN_DESCRIPTORS)));
    let mut meaning = format!("a load run holds {} connections", connections(nofile.current));
    if nofile.current != nofile.maximum {
        meaning.push_str(&format!(", {} once the soft limit is raised", connections(nofile.maximum)));
    }
    let value = format!("{} soft, {} hard", show(nofile.current), show(nofile.maximum));
    Limit { name: "open files (nofile)", value, meaning }
}

/// One number, or several, from a file below `/proc/sys`; `None` on other systems.
fn kernel_setting(name: &str) -> Option<Vec<u64>> {
    let text = std::fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
    text.split_whitespace().map(|word| word.parse().ok()).collect()
}

fn ephemeral_ports() -> Option<Limit> {
    let &[first, last] = kernel_setting("net/ipv4/ip_local_port_range")?.as_slice() else { return None };
    let count = (last + 1).saturating_sub(first);
    let clash = if first < 32_000 { "; may take the cluster bus ports, 20000 to 32000" } else { "" };
    Some(Limit {
        name: "ephemeral ports",
        value: format!("{first} to {last}"),
        meaning: format!("{count} connections from each source address to one port{clash}"),
    })
}

fn backlog() -> Option<Limit> {
    let somaxconn = *kernel_setting("net/core/somaxconn")?.first()?;
    let verdict = if somaxconn < 1_024 { "low: " } else { "" };
    Some(Limit {
        name: "listen queue (somaxconn)",
        value: somaxconn.to_string(),
        meaning: format!("{verdict}connections that may wait to be accepted in a burst"),
    })
}

fn cores() -> Limit {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let meaning = if cores < 4 {
        "Redis, server and generator share them: compare, but do not extrapolate"
    } else {
        "Redis, server and generator can each have their own"
    };
    Limit { name: "cores", value: cores.to_string(), meaning: meaning.to_owned() }
}

fn memory() -> Option<Limit> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let mib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib / 1_024)
    };
    Some(Limit {
        name: "memory",
        value: format!("{} MiB", mib("MemTotal")?),
        meaning: format!("{} MiB of it available now", mib("MemAvailable")?),
    })
}

fn overcommit() -> Option<Limit> {
    let mode = *kernel_setting("vm/overcommit_memory")?.first()?;
    let meaning = match mode {
        1 => "background saves can always fork",
        _ => {
            "background saves may fail when memory is short; chatlab's own servers save only in labs about it"
        }
    };
    Some(Limit { name: "overcommit_memory", value: mode.to_string(), meaning: meaning.to_owned() })
}

fn print(report: &Report) {
    let mut programs = table(&["program", "version", "enables", "if missing"]);
    for item in &report.prerequisites {
        let version = item.version.as_deref().unwrap_or(if item.needed { "MISSING" } else { "-" });
        programs.add_row([item.name, version, item.enables, item.advice.as_deref().unwrap_or("")]);
    }
    let mut limits = table(&["limit", "value", "what it means"]);
    for limit in &report.limits {
        limits.add_row([limit.name, &limit.value, &limit.meaning]);
    }
    println!("{}\n\n{}\n", programs.trim_fmt(), limits.trim_fmt());
    match &report.problem {
        None => println!("chatlab can run here. Next: chatlab demo"),
        Some(problem) => println!("{problem}"),
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(header);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_cut_out_of_what_programs_say() {
        for (said, version) in [
            ("psql (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", "15.14"),
            ("v20.19.5\n", "20.19.5"),
            ("Chromium 140.0.7339.80 built on Debian", "140.0.7339.80"),
            ("pip 23.2.1 from /usr/lib", "23.2.1"),
            ("redis-cli 7.0.15", "7.0.15"),
            ("something else", "something else"),
        ] {
            assert_eq!(short_version(said), version);
        }
    }

    #[test]
    fn no_line_of_the_report_is_wider_than_the_screen() {
        let mut table = table(&["a", "b"]);
        table.add_row(["word ".repeat(30), "other ".repeat(30)]);
        assert!(table.to_string().lines().all(|line| line.chars().count() <= usize::from(WIDTH)));
    }
}
