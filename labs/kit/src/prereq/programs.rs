//! Programs of the system that something needs besides a server, and getting them by the package manager.

use std::path::PathBuf;

use super::install::{run_shell, system_prefix};
use super::{PrereqError, on_path, output_of};

/// A program, how to see whether it can be used, and what brings it.
#[derive(Debug)]
pub struct Program {
    /// For people.
    pub name: &'static str,
    /// Its name on `PATH`.
    pub command: &'static str,
    /// With these it states its version, and fails when a part of it is missing.
    pub arguments: &'static [&'static str],
    /// The package, by package manager.
    pub packages: Packages,
}

/// What a package is called.
#[derive(Debug)]
pub struct Packages {
    /// Debian, Ubuntu.
    pub apt: &'static str,
    /// Fedora.
    pub dnf: &'static str,
    /// Arch.
    pub pacman: &'static str,
    /// Alpine.
    pub apk: &'static str,
    /// macOS.
    pub brew: &'static str,
}

/// Runs JavaScript.
pub const NODE: Program = Program {
    name: "node",
    command: "node",
    arguments: &["--version"],
    packages: Packages { apt: "nodejs", dnf: "nodejs", pacman: "nodejs", apk: "nodejs", brew: "node" },
};

/// Gets packages for it.
pub const NPM: Program = Program {
    name: "npm",
    command: "npm",
    arguments: &["--version"],
    packages: Packages { apt: "npm", dnf: "nodejs-npm", pacman: "npm", apk: "npm", brew: "node" },
};

/// Runs Python, with what makes an environment of its own with pip in it: Debian keeps that apart.
pub const PYTHON_VENV: Program = Program {
    name: "python3 with venv",
    command: "python3",
    arguments: &["-c", "import venv, ensurepip, platform; print(platform.python_version())"],
    packages: Packages {
        apt: "python3-venv",
        dnf: "python3",
        pacman: "python",
        apk: "python3 py3-pip",
        brew: "python3",
    },
};

/// The server; packages bring `initdb` beside it.
pub const POSTGRES: Program = Program {
    name: "PostgreSQL server",
    command: "postgres",
    arguments: &["--version"],
    packages: Packages {
        apt: "postgresql",
        dnf: "postgresql-server",
        pacman: "postgresql",
        apk: "postgresql",
        brew: "postgresql",
    },
};

/// Debian keeps the programs of PostgreSQL's server off `PATH`, a folder a version: of the newest one, the program called `name`.
pub fn beside_path(name: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(Result::ok);
    let found = versions.filter_map(|version| {
        let number: u32 = version.file_name().to_str()?.parse().ok()?;
        Some((number, version.path().join("bin").join(name)))
    });
    found.filter(|(_, program)| program.exists()).max().map(|(_, program)| program)
}

impl Program {
    /// Where it is and what it says of itself.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn find(&self) -> Result<(PathBuf, String), String> {
        let path = on_path(self.command).or_else(|| beside_path(self.command));
        let path = path.ok_or_else(|| format!("{} is not on PATH", self.command))?;
        let version = output_of(&path, self.arguments)?;
        Ok((path, version))
    }
}

/// A way to get programs that should work here. Nothing happens before [`ProgramsPlan::run`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramsPlan(String);

impl ProgramsPlan {
    /// For what is missing; `None` when there is no package manager, or no right to use it.
    pub fn new(missing: &[&Program]) -> Option<Self> {
        let root = rustix::process::geteuid().is_root();
        if !root && on_path("brew").is_some() {
            return Some(Self(format!("brew install {}", list(missing, |of| of.brew))));
        }
        let prefix = system_prefix()?;
        let has = |name: &str| on_path(name).is_some();
        command(prefix, missing, has).map(Self)
    }

    /// Exactly what [`run`](Self::run) does, for a person to type.
    pub fn command_line(&self) -> &str {
        &self.0
    }

    /// Installs. `progress` gets plain lines.
    ///
    /// # Errors
    /// [`PrereqError::Install`] with the last lines of the command that failed.
    pub fn run(&self, progress: &mut dyn FnMut(&str)) -> Result<(), PrereqError> {
        progress(&format!("running: {}", self.0));
        run_shell(&self.0, progress)
    }
}

/// The package manager's command, `has` saying which one there is.
fn command(prefix: &str, missing: &[&Program], has: impl Fn(&str) -> bool) -> Option<String> {
    if has("apt-get") {
        // sudo starts from a clean environment, so the variables go through `env` there. At run level 1 no package starts a
        // service of its own, such as a database.
        let env = if prefix.is_empty() { "" } else { "env " };
        return Some(format!(
            "{prefix}apt-get update && {prefix}{env}DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y \
             --no-install-recommends {}",
            list(missing, |of| of.apt)
        ));
    }
    if has("dnf") {
        return Some(format!("{prefix}dnf install -y {}", list(missing, |of| of.dnf)));
    }
    if has("pacman") {
        return Some(format!("{prefix}pacman -Sy --noconfirm --needed {}", list(missing, |of| of.pacman)));
    }
    has("apk").then(|| format!("{prefix}apk add {}", list(missing, |of| of.apk)))
}

/// The packages, each once.
fn list(missing: &[&Program], name: impl Fn(&Packages) -> &'static str) -> String {
    let mut names: Vec<_> = missing.iter().flat_map(|program| name(&program.packages).split(' ')).collect();
    names.sort_unstable();
    names.dedup();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_missing_is_installed_at_once_by_the_package_manager_that_there_is() {
        let missing = [&NODE, &NPM, &PYTHON_VENV];
        let with = |manager: &'static str| command("", &missing, |name| name == manager);
        let apt = with("apt-get").unwrap();
        assert!(
            apt.starts_with("apt-get update && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y"),
            "{apt}"
        );
        assert!(apt.ends_with(" nodejs npm python3-venv"), "{apt}");
        assert_eq!(with("apk").unwrap(), "apk add nodejs npm py3-pip python3");
        assert_eq!(with("zypper"), None);
        let sudo = command("sudo ", &[&NODE], |name| name == "apt-get").unwrap();
        assert!(
            sudo.contains(" && sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install"),
            "{sudo}"
        );
    }

    #[test]
    fn a_package_that_brings_two_programs_is_named_once() {
        assert_eq!(list(&[&NODE, &NPM], |of| of.brew), "node");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let nothing = Program { command: "chatlab-has-no-such-program", ..NODE };
        assert_eq!(nothing.find().unwrap_err(), "chatlab-has-no-such-program is not on PATH");
    }
}
