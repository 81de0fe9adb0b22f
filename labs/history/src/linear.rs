//! Which commands cost time in proportion to a whole key or to the keyspace.

/// Why a command of a reader or a writer of one room is too dear; none when it is not.
pub(crate) fn is_linear(command: &[String]) -> Option<&'static str> {
    let word = |i: usize| command.get(i).map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    let has = |wanted: &str| command.iter().any(|word| word.eq_ignore_ascii_case(wanted));
    let verb = word(0);
    match verb.as_str() {
        "KEYS" | "SCAN" => Some("walks over the keys of everybody"),
        "HGETALL" | "HKEYS" | "HVALS" | "SMEMBERS" | "SORT" | "HSCAN" | "SSCAN" | "ZSCAN" => {
            Some("reads a whole key")
        }
        "LPOS" | "LREM" | "LINSERT" => Some("searches a whole list"),
        "LRANGE" | "ZRANGE" | "ZREVRANGE" if word(2) == "0" && word(3) == "-1" => Some("reads a whole key"),
        "ZRANGEBYSCORE" | "ZREVRANGEBYSCORE" | "ZRANGE" | "XRANGE" | "XREVRANGE"
            if !has("LIMIT") && !has("COUNT") && open_end(&word(2)) && open_end(&word(3)) =>
        {
            Some("reads a whole key")
        }
        _ => None,
    }
}

fn open_end(bound: &str) -> bool {
    matches!(bound, "-INF" | "+INF" | "-" | "+")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_keys_are_told_from_ranges() {
        let dear = |line: &str| is_linear(&line.split(' ').map(str::to_owned).collect::<Vec<_>>()).is_some();
        for line in
            ["LRANGE k 0 -1", "ZRANGE k 0 -1", "XRANGE k - +", "hgetall k", "ZRANGE k -inf +inf BYSCORE"]
        {
            assert!(dear(line), "{line}");
        }
        for line in [
            "LRANGE k -10 -1",
            "ZRANGE k 0 9",
            "XRANGE k - + COUNT 10",
            "HGET k f",
            "ZRANGE k -inf (9 BYSCORE",
        ] {
            assert!(!dear(line), "{line}");
        }
    }
}
