//! What `redis-server --version` says.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// The longest that a program may take to state its version, on a busy machine too.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// A version in three parts. Anything after them, as in `9.0.0-rc1`, is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Incompatible changes.
    pub major: u32,
    /// New commands.
    pub minor: u32,
    /// Repairs.
    pub patch: u32,
}

impl Version {
    /// Puts the three parts together.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Reads the version that `text` starts with; a missing part counts as 0.
    pub fn parse_prefix(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let mut parts = text[..end].split('.');
        let major = parts.next()?.parse().ok()?;
        let mut next = || parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
        Some(Self { major, minor: next(), patch: next() })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// `redis-server`.
    Redis,
    /// `valkey-server`.
    Valkey,
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Redis => "Redis",
            Self::Valkey => "Valkey",
        })
    }
}

/// Reads a line such as `Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64`.
pub fn parse_banner(banner: &str) -> Option<(Flavour, Version)> {
    let (name, rest) = banner.trim_start().split_once(" server v=")?;
    let flavour = match name {
        "Redis" => Flavour::Redis,
        "Valkey" => Flavour::Valkey,
        _ => return None,
    };
    Some((flavour, Version::parse_prefix(rest)?))
}

/// Runs `program args…` and returns what it wrote to standard output, then to standard error.
///
/// # Errors
/// A sentence on why there is no answer: it cannot be started, it fails, or it takes longer than ten seconds.
pub fn output_of(program: &Path, args: &[&str]) -> Result<String, String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot be started: {error}"))?;
    let deadline = Instant::now() + VERSION_TIMEOUT;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            // A poll, bounded by `VERSION_TIMEOUT`.
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("gave no answer in {} s", VERSION_TIMEOUT.as_secs()));
            }
            Err(error) => return Err(format!("cannot be waited for: {error}")),
        }
    };
    let mut text = String::new();
    // A version is a line or two: it fits into the pipe, so reading after the exit loses nothing.
    if let Some(mut stdout) = child.stdout.take() {
        let _ = stdout.read_to_string(&mut text);
    }
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_string(&mut text);
    }
    if status.success() { Ok(text) } else { Err(format!("failed ({status}): {}", text.trim())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banners_of_both_flavours_are_read() {
        let redis = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64 build=d81";
        assert_eq!(parse_banner(redis), Some((Flavour::Redis, Version::new(7, 0, 15))));
        let valkey = "Valkey server v=9.1.2 sha=00000000:1 malloc=libc bits=64 build=1536";
        assert_eq!(parse_banner(valkey), Some((Flavour::Valkey, Version::new(9, 1, 2))));
        assert_eq!(parse_banner("KeyDB server v=6.3.4 sha=0"), None);
        assert_eq!(parse_banner("GNU bash, version 5.2"), None);
    }

    #[test]
    fn versions_compare_by_number_not_by_text() {
        assert!(Version::new(7, 0, 15) > Version::new(7, 0, 9));
        assert!(Version::new(10, 0, 0) > Version::new(9, 1, 2));
        assert_eq!(Version::parse_prefix("9.0.0-rc1"), Some(Version::new(9, 0, 0)));
        assert_eq!(Version::parse_prefix("24.0"), Some(Version::new(24, 0, 0)));
        assert_eq!(Version::parse_prefix("v7"), None);
    }

    #[test]
    fn a_program_that_fails_is_named_with_its_reason() {
        assert!(
            output_of(Path::new("/nonexistent/redis-server"), &[]).unwrap_err().contains("cannot be started")
        );
        assert!(
            output_of(Path::new("/bin/sh"), &["-c", "echo why >&2; exit 3"]).unwrap_err().contains("why")
        );
    }
}
