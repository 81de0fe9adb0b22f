//! What the chat server may do at Redis, and nothing else: the rule of its user, out of the table of keys and the commands it uses.
//!
//! A script runs with the rights of who calls it, so the commands in the server's scripts are among them. Those of variants that the server does
//! not run by default are not, nor are their keys.

use sha2::{Digest, Sha256};

use crate::keys::TABLE;

/// What the server sends, and what its scripts call.
pub const COMMANDS: &[(&str, &[&str])] = &[
    (
        "connections, and the cluster's layout",
        &[
            "auth",
            "hello",
            "client",
            "ping",
            "readonly",
            "select",
            "cluster|slots",
            "cluster|nodes",
            "cluster|info",
            "cluster|myid",
            "cluster|shards",
            "asking",
            "command",
            "info",
            "role",
            "wait",
        ],
    ),
    ("scripts", &["evalsha", "eval", "script|load", "time"]),
    ("strings", &["get", "set", "del", "unlink", "exists", "pexpire", "pexpireat", "pttl"]),
    (
        "hashes",
        &["hget", "hset", "hsetnx", "hdel", "hmget", "hgetall", "hincrby", "hexists", "hkeys", "hlen"],
    ),
    ("sets", &["sadd", "srem", "scard", "smembers", "srandmember", "smismember"]),
    (
        "sorted sets",
        &[
            "zadd",
            "zrem",
            "zscore",
            "zcard",
            "zcount",
            "zrange",
            "zrangebyscore",
            "zrevrangebyscore",
            "zremrangebyscore",
        ],
    ),
    (
        "streams",
        &[
            "xadd",
            "xlen",
            "xrange",
            "xrevrange",
            "xtrim",
            "xdel",
            "xack",
            "xclaim",
            "xpending",
            "xreadgroup",
            "xread",
            "xgroup|create",
            "xgroup|createconsumer",
            "xgroup|delconsumer",
            "xinfo|stream",
            "xinfo|groups",
        ],
    ),
    ("channels", &["publish", "spublish", "subscribe", "ssubscribe", "unsubscribe", "sunsubscribe"]),
];

/// What `CLIENT` does to others. What it says of oneself differs from version to version, and a name that a server does not know keeps it from
/// starting: so all of it is allowed, and this is not.
const NOT_OF_CLIENT: [&str; 5] =
    ["client|kill", "client|list", "client|pause", "client|unpause", "client|no-evict"];

/// A key pattern of the table as Redis matches keys: every word that varies is a `*`.
fn glob(pattern: &str) -> String {
    let mut out = String::new();
    let mut word = false;
    for c in pattern.chars() {
        let varies = c.is_ascii_uppercase();
        if varies && !word {
            out.push('*');
        }
        if !varies {
            out.push(c);
        }
        word = varies;
    }
    out
}

/// The patterns of what the server keeps by default.
fn patterns() -> impl Iterator<Item = (String, bool)> {
    let of_variants = |pattern: &str| {
        pattern.contains(":lab:") || pattern.starts_with("{lab:") || pattern.starts_with("lab:")
    };
    let used = TABLE.iter().filter(move |row| !of_variants(row.pattern));
    used.map(|row| (glob(row.pattern), row.kind == "channel"))
}

/// What the server's user may do, as it stands in a rule behind the password.
pub fn rights() -> String {
    let mut parts = vec!["resetkeys".to_owned(), "resetchannels".to_owned()];
    // Channels too: a script that publishes declares the channel among its keys, by which it comes to the right node.
    parts.extend(patterns().map(|(pattern, _)| format!("~{pattern}")));
    parts.extend(patterns().filter(|(_, channel)| *channel).map(|(pattern, _)| format!("&{pattern}")));
    parts.push("-@all".to_owned());
    let commands = COMMANDS.iter().flat_map(|(_, commands)| commands.iter());
    parts.extend(commands.map(|command| format!("+{command}")));
    parts.extend(NOT_OF_CLIENT.map(|command| format!("-{command}")));
    parts.join(" ")
}

/// The rule of a user of that password, with nothing but what the server needs: as it stands behind `user` in Redis' configuration or in an ACL
/// file. The password itself is not in it.
pub fn rule(user: &str, password: &str) -> String {
    let digest: String = Sha256::digest(password).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{user} on #{digest} {}", rights())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_in_a_pattern_is_a_star() {
        assert_eq!(glob("{pN}:room:RID:sent:UID:CID"), "{p*}:room:*:sent:*:*");
        assert_eq!(glob("chatlab:probe:INSTANCE:N"), "chatlab:probe:*:*");
        assert_eq!(glob("{pN}:events:message.created"), "{p*}:events:message.created");
    }

    #[test]
    fn the_users_of_the_containers_have_this_rule() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docker/redis/users.acl");
        let begins = "user chatlab on #@CHATLAB_REDIS_PASSWORD@ ";
        let wanted = format!("{begins}{}", rights());
        let read = || std::fs::read_to_string(path).unwrap();
        if std::env::var_os("CHATLAB_BLESS").is_some() {
            let right = |line: &str| if line.starts_with(begins) { wanted.clone() } else { line.to_owned() };
            let lines: Vec<String> = read().lines().map(right).collect();
            std::fs::write(path, lines.join("\n") + "\n").unwrap();
        }
        assert!(
            read().lines().any(|line| line == wanted),
            "{path} is out of date: run this test with CHATLAB_BLESS=1"
        );
    }

    #[test]
    fn the_rule_names_keys_channels_and_commands_and_no_password() {
        let rule = rule("chatlab", "hunter2");
        assert!(
            rule.starts_with("chatlab on #f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7 "),
            "{rule}"
        );
        assert!(!rule.contains("hunter2"));
        for part in [
            " resetchannels ",
            " ~{u:*}:session:* ",
            " &{p*}:room:*:live ",
            " &chatlab:probe:*:* ",
            " -@all ",
            " +evalsha ",
        ] {
            assert!(rule.contains(part), "{part}: {rule}");
        }
        for never in ["+flushall", "+keys", "+config", "+scan", "allkeys", "allchannels", "~*", "&*"] {
            assert!(!rule.split(' ').any(|part| part == never), "{never}: {rule}");
        }
        assert!(!rule.contains("+@") && !rule.contains("{lab:") && !rule.contains(":lab:"), "{rule}");
    }
}
