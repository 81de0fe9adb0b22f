//! Which key decides where a command goes.

use ::redis::{Arg, Cmd};

/// The command's first key, or none for a command without keys.
///
/// The table covers the commands of the labs; what it does not know has its key as the first
/// argument, as nearly all commands do.
pub fn key_of(cmd: &Cmd) -> Option<&[u8]> {
    let verb = upper(arg(cmd, 0)?);
    match verb.as_str() {
        "EVAL" | "EVALSHA" | "EVAL_RO" | "EVALSHA_RO" | "FCALL" | "FCALL_RO" => counted(cmd, 2),
        "ZUNION" | "ZINTER" | "ZDIFF" | "SINTERCARD" | "ZINTERCARD" | "LMPOP" | "ZMPOP" => counted(cmd, 1),
        "BLMPOP" | "BZMPOP" => counted(cmd, 2),
        "XREAD" | "XREADGROUP" => after_streams(cmd),
        "XGROUP" | "XINFO" | "OBJECT" | "BITOP" => arg(cmd, 2),
        "MEMORY" | "DEBUG" => {
            let sub = upper(arg(cmd, 1)?);
            if sub == "USAGE" || sub == "OBJECT" { arg(cmd, 2) } else { None }
        }
        verb if KEYLESS.contains(&verb) => None,
        _ => arg(cmd, 1),
    }
}

/// Commands whose first argument is no key.
const KEYLESS: [&str; 38] = [
    "ACL",
    "AUTH",
    "BGREWRITEAOF",
    "BGSAVE",
    "CLIENT",
    "CLUSTER",
    "COMMAND",
    "CONFIG",
    "DBSIZE",
    "DISCARD",
    "ECHO",
    "EXEC",
    "FAILOVER",
    "FLUSHALL",
    "FLUSHDB",
    "FUNCTION",
    "HELLO",
    "INFO",
    "KEYS",
    "LASTSAVE",
    "LATENCY",
    "LOLWUT",
    "MODULE",
    "MULTI",
    "PING",
    "PUBLISH",
    "PUBSUB",
    "QUIT",
    "RANDOMKEY",
    "RESET",
    "ROLE",
    "SAVE",
    "SCAN",
    "SCRIPT",
    "SLOWLOG",
    "TIME",
    "UNWATCH",
    "WAIT",
];

/// The argument at `index`, the verb being 0.
pub(super) fn arg(cmd: &Cmd, index: usize) -> Option<&[u8]> {
    match cmd.args_iter().nth(index)? {
        Arg::Simple(bytes) => Some(bytes),
        _ => None,
    }
}

/// The text in capitals.
pub(super) fn upper(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_ascii_uppercase()
}

/// The first of the keys that follow their number, unless that is 0.
fn counted(cmd: &Cmd, count_index: usize) -> Option<&[u8]> {
    let count = arg(cmd, count_index)?;
    if count == b"0" { None } else { arg(cmd, count_index + 1) }
}

fn after_streams(cmd: &Cmd) -> Option<&[u8]> {
    let position = cmd
        .args_iter()
        .position(|part| matches!(part, Arg::Simple(bytes) if bytes.eq_ignore_ascii_case(b"STREAMS")))?;
    arg(cmd, position + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(line: &str) -> Option<String> {
        let mut words = line.split(' ');
        let mut cmd = ::redis::cmd(words.next().unwrap());
        for word in words {
            cmd.arg(word);
        }
        key_of(&cmd).map(|key| String::from_utf8(key.to_vec()).unwrap())
    }

    #[test]
    fn the_key_is_found_where_each_command_has_it() {
        for line in [
            "GET k",
            "evalsha abc 2 k other",
            "XREADGROUP GROUP g c COUNT 1 streams k >",
            "XADD k * f v",
            "XGROUP CREATE k g $",
            "MEMORY USAGE k",
            "ZINTER 2 k l",
            "BITOP AND k l",
            "SPUBLISH k hello",
        ] {
            assert_eq!(key(line).as_deref(), Some("k"), "{line}");
        }
        for line in ["PING", "EVAL return 0", "SCRIPT LOAD x", "TIME", "MEMORY STATS"] {
            assert_eq!(key(line), None, "{line}");
        }
    }
}
