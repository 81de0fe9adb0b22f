//! Whole suites inside a server's image, on that server: as many nodes as they want, and nothing of this machine's but the programs.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::Value;
use testcontainers::{
    ImageExt,
    core::{AccessMode, Mount, WaitFor, wait::ExitWaitStrategy},
    runners::AsyncRunner,
};

use crate::{
    built,
    engine::{docker, generic, owned, run},
    matrix::{self, Row},
    nodes::{self, Network},
    settings::Settings,
};

/// The tests of what the server promises, by their modules.
const GUARANTEES: [&str; 17] = [
    "conversation::",
    "events::",
    "expiry::",
    "failover::",
    "find::",
    "groups::",
    "history::",
    "levels::",
    "limits::",
    "marks::",
    "order::",
    "people::",
    "presence::",
    "rooms::",
    "sessions::",
    "tls::",
    "typing::",
];
/// Seeds of the author gate for each version; with the machine's own server it is run with twenty.
const GATE_SEEDS: &str = "2";
/// The longest that a suite may take.
const SUITE_BOUND: Duration = Duration::from_secs(30 * 60);
/// How often it is asked whether a suite has ended.
const LOOK: Duration = Duration::from_millis(500);
/// How much of a failed suite's output is shown, in lines.
const SHOWN_LINES: usize = 120;
/// The same of its end.
const TAIL_LINES: usize = 20;

/// What a program in a container said.
struct Ran {
    code: i64,
    out: String,
    said: String,
    took: Duration,
}

/// Runs a program of this machine in an image. The clone is there too, at the same place, and can't be written.
async fn run_in(
    settings: &Settings,
    image: &str,
    program: &Path,
    arguments: &[&str],
    network: &Network,
    env: &[(&str, String)],
) -> anyhow::Result<Ran> {
    let root = settings.root.display().to_string();
    let programs = program.parent().context("a program without a folder")?;
    let read_only = |path: &str| Mount::bind_mount(path, path).with_access_mode(AccessMode::ReadOnly);
    let entry = program.display().to_string();
    let image = generic(image)
        .with_entrypoint(&entry)
        .with_wait_for(WaitFor::Exit(ExitWaitStrategy::new().with_poll_interval(LOOK)));
    let mut request = owned(image)
        .with_cmd(arguments.iter().copied())
        .with_user("0:0")
        .with_mount(read_only(&root))
        .with_mount(Mount::tmpfs_mount("/tmp"))
        .with_network(network.name())
        .with_working_dir(&root)
        .with_env_var("CARGO_MANIFEST_DIR", &root)
        .with_env_var("HOME", "/tmp")
        .with_startup_timeout(SUITE_BOUND)
        // Somebody has to wait for the processes whose parents ended.
        .with_host_config_modifier(|host| host.init = Some(true));
    if !programs.starts_with(&settings.root) {
        request = request.with_mount(read_only(&programs.display().to_string()));
    }
    for (name, value) in env {
        request = request.with_env_var(*name, value);
    }
    let began = Instant::now();
    let container = request.start().await.with_context(|| format!("{entry} in its image"))?;
    let took = began.elapsed();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ran {
        code: container.exit_code().await?.unwrap_or(-1),
        out: text(container.stdout_to_vec().await?),
        said: text(container.stderr_to_vec().await?),
        took,
    })
}

impl Ran {
    /// What it said of what failed, and the ends of all it said.
    fn told(&self) -> String {
        let failures = self.out.split_once("\nfailures:\n").map_or("", |(_, failures)| failures);
        let shown: Vec<_> = failures.lines().take(SHOWN_LINES).collect();
        format!("{}\n…\n{}\n{}", shown.join("\n"), tail(&self.out), tail(&self.said))
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// What the server in an image calls itself: `redis 7.0.15`.
pub fn version(image: &str) -> anyhow::Result<String> {
    let told = docker(["run", "--rm", "--entrypoint", "redis-server", image, "--version"])?;
    let number = told.split(' ').find_map(|word| word.strip_prefix("v="));
    let name = told.split(' ').next().unwrap_or_default().to_lowercase();
    // Valkey's program also says what version of Redis it takes the place of.
    let name = if name.starts_with("valkey") { "valkey" } else { "redis" };
    Ok(format!("{name} {}", number.with_context(|| told.clone())?))
}

/// The guarantee tests, with the archive in SQLite and in a PostgreSQL of its own container.
pub async fn guarantees(settings: &Settings, image: &str) -> anyhow::Result<()> {
    let programs = built::programs(settings)?;
    let network = Network::fresh();
    let postgres = nodes::postgres(&settings.postgres[settings.postgres.len() - 1], &network).await?;
    let listed = run(Command::new(&programs.suite).args(["--list", "--format", "terse"]))?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let names = listed.lines().filter_map(|line| line.strip_suffix(": test"));
    let mut arguments: Vec<_> = names.filter(|name| is_guarantee(name)).collect();
    arguments.push("--exact");
    let env = [("CHATLAB_TEST_POSTGRES", postgres.inner_url())];
    let ran = run_in(settings, image, &programs.suite, &arguments, &network, &env).await?;
    let version = version(image)?;
    let mut tested = 0;
    for (topology, is) in [
        ("single", (|name| name.ends_with("::single") || name.contains("::postgres::")) as fn(&str) -> bool),
        ("cluster", |name| name.ends_with("::cluster")),
        ("the test's", |name| {
            !name.ends_with("::single") && !name.contains("::postgres::") && !name.ends_with("::cluster")
        }),
    ] {
        let mut row = Row::new(&version, topology, "guarantees", ran.took);
        let of = ran.out.lines().filter_map(|line| line.strip_prefix("test ")?.split_once(" ... "));
        for (_, result) in of.filter(|(name, _)| is(name)) {
            match result.split([' ', ',']).next() {
                Some("ok") => row.passed += 1,
                Some("ignored") => row.skipped += 1,
                _ => row.failed += 1,
            }
        }
        tested += row.passed;
        matrix::add(row);
    }
    ensure!(ran.code == 0, "{image}: ended with {}\n{}", ran.code, ran.told());
    ensure!(tested > 0, "{image}: no test ran\n{}", ran.told());
    Ok(())
}

fn is_guarantee(test: &str) -> bool {
    GUARANTEES.iter().any(|module| test.starts_with(module)) && !test.contains("accuracy::")
}

/// The author gate of all labs.
pub async fn author_gate(settings: &Settings, image: &str) -> anyhow::Result<()> {
    let programs = built::programs(settings)?;
    built::exercises(&programs.chatlab)?;
    let network = Network::fresh();
    let arguments = ["dev", "check", "--built", "--json", "--seeds", GATE_SEEDS];
    let ran = run_in(settings, image, &programs.chatlab, &arguments, &network, &[]).await?;
    let version = version(image)?;
    let report: Value = serde_json::from_str(&ran.out).with_context(|| ran.told())?;
    let labs = report["labs"].as_array().context("no labs")?;
    let variants = || labs.iter().filter_map(|lab| lab["variants"].as_array()).flatten();
    let mut tested = 0;
    for topology in ["single", "cluster"] {
        let mut row = Row::new(&version, topology, "author gate", ran.took);
        for variant in variants().filter(|variant| variant["topology"] == topology) {
            let count = |name: &str| variant[name].as_u64().unwrap_or_default();
            row.passed += count("as_declared");
            row.failed += count("seeds") - count("as_declared");
            row.skipped += u64::from(!variant["skipped"].is_null());
        }
        tested += row.passed;
        matrix::add(row);
    }
    let problems: Vec<_> = labs.iter().filter_map(|lab| lab["problems"].as_array()).flatten().collect();
    ensure!(ran.code == 0, "{image}: {problems:#?}\n{}", ran.said);
    ensure!(tested > 0, "{image}: nothing was checked");
    Ok(())
}
