//! A PostgreSQL server of the test's own, where one is installed.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const START_TIMEOUT: Duration = Duration::from_secs(60);

pub struct Postgres {
    child: Child,
    folder: tempfile::TempDir,
}

/// Debian keeps the servers' programs out of the PATH.
fn program(name: &str) -> Option<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = debian.map(|version| version.path().join("bin").join(name));
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(name)).chain(debian).find(|p| p.exists())
}

/// The server refuses to run as root: then the user that Debian made for it.
fn user() -> Option<(u32, u32)> {
    if !is_root() {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let line = passwd.lines().find_map(|line| line.strip_prefix("postgres:"))?;
    let mut fields = line.split(':').skip(1);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = user() {
        command.uid(uid).gid(gid);
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Postgres {
    /// None, and a word about it, where there is no PostgreSQL or nobody to run it as.
    pub fn start() -> Option<Self> {
        let (Some(server), Some(initdb)) = (program("postgres"), program("initdb")) else {
            println!("SKIPPED: PostgreSQL is not installed (Debian: apt-get install postgresql)");
            return None;
        };
        if is_root() && user().is_none() {
            println!("SKIPPED: PostgreSQL does not run as root, and there is no user `postgres`");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        if let Some((uid, gid)) = user() {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let data = folder.path().join("data");
        let made = command(&initdb)
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync", "--pgdata"])
            .arg(&data)
            .status()
            .unwrap();
        assert!(made.success(), "initdb: {made}");
        // No port at all: a socket in the folder.
        let child = command(&server)
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"])
            .arg(folder.path())
            .spawn()
            .unwrap();
        let server = Self { child, folder };
        server.wait();
        Some(server)
    }

    /// The last line of its file says when it takes connections.
    fn wait(&self) {
        let file = self.folder.path().join("data/postmaster.pid");
        let give_up = Instant::now() + START_TIMEOUT;
        while !fs::read_to_string(&file)
            .is_ok_and(|text| text.lines().last().is_some_and(|l| l.trim() == "ready"))
        {
            assert!(Instant::now() < give_up, "PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn url(&self) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{folder}/postgres")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // An immediate stop: its processes end before the folder goes.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        let _ = self.child.wait();
    }
}
