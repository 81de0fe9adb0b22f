//! The programs that are put into containers: built by cargo, which has them already as a rule.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context, anyhow};
use serde_json::Value;

use crate::{engine::run, settings::Settings};

/// Programs of the workspace.
pub struct Built {
    /// The integration tests.
    pub suite: PathBuf,
    /// The unit tests of the root package.
    pub units: PathBuf,
    /// The program itself.
    pub chatlab: PathBuf,
}

/// The programs, after cargo brought them up to date.
pub fn programs(settings: &Settings) -> anyhow::Result<&'static Built> {
    static BUILT: OnceLock<Result<Built, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build(&settings.root).map_err(|error| format!("{error:#}")));
    built.as_ref().map_err(|error| anyhow!("{error}"))
}

fn build(root: &Path) -> anyhow::Result<Built> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // As from a shell, for the same reason as in `cli::bench::cargo`.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_"].iter().any(|of| name.starts_with(of)) {
            cargo.env_remove(&*name);
        }
    }
    // The packages that `cargo lab test` names: with others, crates would have other features, and all would be compiled again.
    let output = run(cargo.current_dir(root).args([
        "test",
        "--release",
        "--workspace",
        "--exclude",
        "chatlab-container-tests",
        "--no-run",
        "--message-format=json-render-diagnostics",
    ]))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let manifest = root.join("Cargo.toml");
    let find = |kind: &str, name: &str, test: bool| {
        let is = |line: &&Value| {
            line["target"]["kind"][0] == kind
                && line["target"]["name"] == name
                && line["profile"]["test"] == test
                && line["manifest_path"].as_str().is_some_and(|path| Path::new(path) == manifest)
        };
        let found = lines.iter().find(is).and_then(|line| line["executable"].as_str());
        found.map(PathBuf::from).with_context(|| format!("cargo built no {kind} {name}"))
    };
    Ok(Built {
        suite: find("test", "suite", true)?,
        units: find("lib", "chatlab", true)?,
        chatlab: find("bin", "chatlab", false)?,
    })
}

/// The exercises of all labs, beside `chatlab`.
pub fn exercises(chatlab: &Path) -> anyhow::Result<()> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    let build = || {
        let built = run(Command::new(chatlab).args(["dev", "check", "--no-run"]));
        built.map(drop).map_err(|error| format!("{error:#}"))
    };
    BUILT.get_or_init(build).clone().map_err(|error| anyhow!("{error}"))
}
