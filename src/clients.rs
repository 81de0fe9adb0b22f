//! What others made to talk to servers like ours, for the tests: the official Socket.IO clients, and Schemathesis, which fuzzes what an
//! OpenAPI document describes. Where they are, and getting them.
//!
//! They are what the lock file and `requirements.txt` in `tests/socketio` and `tests/rest` pin, in chatlab's cache folder, got once.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use chatlab_kit::prereq::{NODE, NPM, PYTHON_VENV, Program, cache_dir, run_shell};

/// What they need of the system.
pub const PROGRAMS: [&Program; 3] = [&NODE, &NPM, &PYTHON_VENV];
/// Installs what `requirements.txt` pins.
const PIP: &str =
    "python3 -m venv venv && venv/bin/python -m pip install --disable-pip-version-check -r requirements.txt";
/// Says that a folder is complete, and for which pins.
const READY: &str = "ready";

/// Both Socket.IO clients, ready to run.
#[derive(Debug)]
pub struct OfficialClients {
    /// Runs `client.js`.
    pub node: PathBuf,
    /// Its packages.
    pub node_modules: PathBuf,
    /// Runs `client.py`, with its packages.
    pub python: PathBuf,
}

/// The folder of a kind of tests, with its scripts and pins.
fn tests(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// The folder of the scripts for the official clients.
pub fn scripts() -> PathBuf {
    tests("socketio")
}

struct Place {
    folder: PathBuf,
    pins: PathBuf,
}

impl Place {
    fn of(name: &str, pins: PathBuf) -> Self {
        Self { folder: cache_dir().join("test-clients").join(name), pins }
    }

    fn wanted(&self) -> anyhow::Result<String> {
        let path = &self.pins;
        std::fs::read_to_string(path).with_context(|| path.display().to_string())
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
            std::fs::copy(self.pins.with_file_name(file), self.folder.join(file))?;
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
    Place::of("node", scripts().join("package-lock.json"))
}

fn of_python() -> Place {
    Place::of("python", scripts().join("requirements.txt"))
}

fn of_schemathesis() -> Place {
    Place::of("schemathesis", tests("rest").join("requirements.txt"))
}

/// Schemathesis, if it is there as it is pinned.
///
/// # Errors
/// What to type.
pub fn schemathesis() -> anyhow::Result<PathBuf> {
    let place = of_schemathesis();
    if !place.is_ready()? {
        bail!("Schemathesis is not in {}: `cargo lab test --yes rest` gets it", place.folder.display());
    }
    Ok(place.folder.join("venv/bin/schemathesis"))
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

/// Gets all of them, unless they are there. The [`PROGRAMS`] must be.
///
/// # Errors
/// The last words of what failed.
pub fn get() -> anyhow::Result<()> {
    if !of_node().is_ready()? {
        of_node()
            .fill(&["package.json", "package-lock.json"], "npm ci --omit=dev --no-audit --no-fund")
            .context("the packages for tests/socketio/client.js")?;
    }
    for (place, what) in [
        (of_python(), "the packages for tests/socketio/client.py"),
        (of_schemathesis(), "the packages of Schemathesis"),
    ] {
        if !place.is_ready()? {
            place.fill(&["requirements.txt"], PIP).context(what)?;
        }
    }
    Ok(())
}
