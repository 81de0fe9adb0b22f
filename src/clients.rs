//! The official Socket.IO clients that tests talk to the server with: where they are, and getting them.
//!
//! They are what `tests/socketio/package-lock.json` and `requirements.txt` pin, in chatlab's cache folder, got once.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use chatlab_kit::prereq::{NODE, NPM, PYTHON_VENV, Program, cache_dir, run_shell};

/// What they need of the system.
pub const PROGRAMS: [&Program; 3] = [&NODE, &NPM, &PYTHON_VENV];
/// Says that a folder is complete, and for which pins.
const READY: &str = "ready";

/// Both clients, ready to run.
#[derive(Debug)]
pub struct OfficialClients {
    /// Runs `client.js`.
    pub node: PathBuf,
    /// Its packages.
    pub node_modules: PathBuf,
    /// Runs `client.py`, with its packages.
    pub python: PathBuf,
}

/// The folder of the scripts and of the pins.
pub fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/socketio")
}

struct Place {
    folder: PathBuf,
    pins: &'static str,
}

impl Place {
    fn of(name: &str, pins: &'static str) -> Self {
        Self { folder: cache_dir().join("test-clients").join(name), pins }
    }

    fn wanted(&self) -> anyhow::Result<String> {
        let path = scripts().join(self.pins);
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    fn is_ready(&self) -> anyhow::Result<bool> {
        let wanted = self.wanted()?;
        Ok(std::fs::read_to_string(self.folder.join(READY)).is_ok_and(|ready| ready == wanted))
    }

    /// Runs `line` in the emptied folder, with the files named there.
    fn fill(&self, files: &[&str], line: &str) -> anyhow::Result<()> {
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder)?;
        }
        std::fs::create_dir_all(&self.folder)?;
        for file in files {
            std::fs::copy(scripts().join(file), self.folder.join(file))?;
        }
        eprintln!("running in {}: {line}", self.folder.display());
        let folder = self.folder.display().to_string().replace('\'', r"'\''");
        run_shell(&format!("cd '{folder}' && {line}"), &mut |said| eprintln!("{said}"))?;
        // Last: a half of it is never taken for the whole.
        std::fs::write(self.folder.join(READY), self.wanted()?)?;
        Ok(())
    }
}

fn of_node() -> Place {
    Place::of("node", "package-lock.json")
}

fn of_python() -> Place {
    Place::of("python", "requirements.txt")
}

/// The clients, if they are there as they are pinned.
///
/// # Errors
/// What is missing, and what to type.
pub fn find() -> anyhow::Result<OfficialClients> {
    for place in [of_node(), of_python()] {
        if !place.is_ready()? {
            bail!(
                "the official Socket.IO clients are not in {}: `cargo lab test --yes socketio` gets them, and what they need",
                place.folder.display()
            );
        }
    }
    let (node, _) = NODE.find().map_err(anyhow::Error::msg)?;
    Ok(OfficialClients {
        node,
        node_modules: of_node().folder.join("node_modules"),
        python: of_python().folder.join("venv/bin/python"),
    })
}

/// Gets the clients, unless they are there. The [`PROGRAMS`] must be.
///
/// # Errors
/// The last words of what failed.
pub fn get() -> anyhow::Result<()> {
    if !of_node().is_ready()? {
        of_node()
            .fill(&["package.json", "package-lock.json"], "npm ci --omit=dev --no-audit --no-fund")
            .context("the packages for tests/socketio/client.js")?;
    }
    if !of_python().is_ready()? {
        let line = "python3 -m venv venv && venv/bin/python -m pip install --disable-pip-version-check -r requirements.txt";
        of_python().fill(&["requirements.txt"], line).context("the packages for tests/socketio/client.py")?;
    }
    Ok(())
}
