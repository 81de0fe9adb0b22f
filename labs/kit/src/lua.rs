//! The script registry.
//!
//! A script is a file `lua/<lab>/<verb>.lua` with a header that states what it is for, what it
//! guarantees, its `KEYS` and `ARGV` by name, what it returns and what it costs; the body opens with a
//! named local for each of them; the Rust binding repeats the names. [`Script::verify`] compares the three.

use std::sync::OnceLock;

use redis::{FromRedisValue, ToRedisArgs, aio::ConnectionLike};
use sha1_smol::Sha1;

use crate::{LabResult, slots::slot};

/// A script and how it is called. Lives in a `static`.
#[derive(Debug)]
pub struct Script {
    /// `lab/verb`, as the file is named.
    pub name: &'static str,
    /// The whole file.
    pub source: &'static str,
    /// The names of `KEYS`, in order.
    pub keys: &'static [&'static str],
    /// The names of `ARGV`, in order.
    pub args: &'static [&'static str],
    sha: OnceLock<String>,
}

/// Room for the arguments of most calls, in bytes: a message, its ids and its bounds.
const TYPICAL_BYTES: usize = 640;

/// The fields that every header must have, besides `KEYS` and `ARGV`.
const HEADER_FIELDS: [&str; 4] = ["Purpose:", "Guarantee:", "Returns:", "Complexity:"];

impl Script {
    /// Binds the file `source` by the names of its keys and arguments.
    pub const fn new(
        name: &'static str,
        source: &'static str,
        keys: &'static [&'static str],
        args: &'static [&'static str],
    ) -> Self {
        Self { name, source, keys, args, sha: OnceLock::new() }
    }

    /// The SHA-1 of the source in hexadecimal, by which Redis knows a loaded script.
    pub fn sha(&self) -> &str {
        self.sha.get_or_init(|| Sha1::from(self.source).digest().to_string())
    }

    /// Starts a call.
    pub fn call(&'static self) -> Call {
        let args = redis::Cmd::with_capacity(self.args.len(), TYPICAL_BYTES);
        Call { script: self, keys: Vec::with_capacity(self.keys.len()), args, given: 0 }
    }

    /// Compares header, body and binding; the error names the first difference.
    pub fn verify(&self) -> Result<(), String> {
        let wrong = |what: String| Err(format!("{}: {what}", self.name));
        let (header, body): (Vec<&str>, Vec<&str>) = {
            let lines: Vec<&str> = self.source.lines().collect();
            let end = lines.iter().position(|l| !l.starts_with("--")).unwrap_or(lines.len());
            (lines[..end].to_vec(), lines[end..].to_vec())
        };
        for field in HEADER_FIELDS {
            if !header.iter().any(|line| line.trim_start_matches("-- ").starts_with(field)) {
                return wrong(format!("the header has no line `-- {field} …`"));
            }
        }
        for (kind, names) in [("KEYS", self.keys), ("ARGV", self.args)] {
            for (i, name) in names.iter().enumerate() {
                let place = format!("{kind}[{}]", i + 1);
                let in_header = header.iter().any(|l| {
                    l.trim_start_matches("-- ").trim_start().starts_with(&format!("{place} {name} "))
                });
                if !in_header {
                    return wrong(format!("the header has no line `-- {place} {name} …`"));
                }
                let local = format!("local {name} =");
                if !body.iter().any(|l| l.trim_start().starts_with(&local) && l.contains(&place)) {
                    return wrong(format!("the body has no line `{local} …{place}…`"));
                }
            }
            let one_more = format!("{kind}[{}]", names.len() + 1);
            if self.source.contains(&one_more) {
                return wrong(format!("{one_more} is used, but the binding has only {}", names.len()));
            }
        }
        Ok(())
    }
}

/// A call with its keys and arguments, in the order of the binding.
#[must_use = "a call does nothing until it is run"]
pub struct Call {
    script: &'static Script,
    keys: Vec<String>,
    args: redis::Cmd,
    given: usize,
}

impl Call {
    /// The next key.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// The next argument.
    pub fn arg(mut self, value: impl ToRedisArgs) -> Self {
        self.args.arg(value);
        self.given += 1;
        self
    }

    /// The keys given so far.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Whether all keys lie in one slot, as a cluster demands.
    pub fn one_slot(&self) -> bool {
        self.keys.windows(2).all(|pair| slot(pair[0].as_bytes()) == slot(pair[1].as_bytes()))
    }

    /// The call as one command of a pipeline. A node may answer NOSCRIPT to it: then [`Call::run`] it.
    pub fn by_sha(&self) -> redis::Cmd {
        self.command("EVALSHA", self.script.sha())
    }

    fn command(&self, verb: &str, script: &str) -> redis::Cmd {
        let keys: usize = self.keys.iter().map(String::len).sum();
        let arguments = 3 + self.keys.len() + self.given;
        let mut cmd = redis::Cmd::with_capacity(arguments, script.len() + keys + TYPICAL_BYTES);
        cmd.arg(verb).arg(script).arg(self.keys.len()).arg(&self.keys);
        for arg in self.args.args_iter() {
            if let redis::Arg::Simple(bytes) = arg {
                cmd.arg(bytes);
            }
        }
        cmd
    }

    /// Runs it by its SHA: one round trip. A node that does not know the script (a new one, or one
    /// that was restarted) gets the source itself, once.
    pub async fn run<T: FromRedisValue>(self, redis: &mut impl ConnectionLike) -> LabResult<T> {
        debug_assert_eq!(
            (self.keys.len(), self.given),
            (self.script.keys.len(), self.script.args.len()),
            "{}",
            self.script.name
        );
        match self.command("EVALSHA", self.script.sha()).query_async(redis).await {
            Err(e) if e.code() == Some("NOSCRIPT") => {
                Ok(self.command("EVAL", self.script.source).query_async(redis).await?)
            }
            other => Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "-- Purpose: p\n-- Guarantee: g\n-- KEYS[1] meta  the meta\n-- ARGV[1] n  count\n\
                        -- Returns: r\n-- Complexity: O(1)\nlocal meta = KEYS[1]\nlocal n = tonumber(ARGV[1])\n";

    #[test]
    fn a_script_whose_header_body_and_binding_agree_is_accepted() {
        Script::new("t/good", GOOD, &["meta"], &["n"]).verify().unwrap();
    }

    #[test]
    fn each_disagreement_is_named() {
        let leak = |s: String| -> &'static str { Box::leak(s.into_boxed_str()) };
        let cases = [
            (GOOD.replace("Guarantee", "Promise"), "no line `-- Guarantee:"),
            (GOOD.replace("-- KEYS[1] meta", "-- KEYS[1] data"), "the header has no line `-- KEYS[1] meta"),
            (GOOD.replace("local meta", "local data"), "the body has no line `local meta"),
            (format!("{GOOD}redis.call('GET', KEYS[2])"), "KEYS[2] is used"),
        ];
        for (source, expected) in cases {
            let why = Script::new("t/bad", leak(source), &["meta"], &["n"]).verify().unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
    }
}
