//! No key is left that the key table does not know.

use chatlab_kit::keys::TABLE;
use chatlab_kit::redis::Redis;

use super::LabVerdict;

/// The most keys of one node that are looked at; a lab leaves some thousands.
const KEYS_MAX: usize = 1_000_000;
const SCAN_COUNT: usize = 2_000;

/// Looks at every key of every master.
pub(super) async fn look(redis: &Redis, verdict: &mut LabVerdict) -> anyhow::Result<()> {
    let patterns: Vec<Vec<Part>> =
        TABLE.iter().filter(|row| row.kind != "channel").map(|row| parts(row.pattern)).collect();
    let masters = redis.primaries().await?;
    for (address, mut node) in redis.each_node().await? {
        if !masters.contains(&address) {
            continue;
        }
        let (mut cursor, mut seen) = (0_u64, 0_usize);
        loop {
            let (next, keys): (u64, Vec<String>) =
                redis::cmd("SCAN").arg(cursor).arg("COUNT").arg(SCAN_COUNT).query_async(&mut node).await?;
            seen += keys.len();
            for key in keys.iter().filter(|key| !patterns.iter().any(|pattern| fits(pattern, key))) {
                verdict.problem("keys", format!("`{key}` is in no row of labs/kit/src/keys.rs"));
            }
            cursor = next;
            if cursor == 0 || seen > KEYS_MAX {
                break;
            }
        }
    }
    Ok(())
}

/// A part of a pattern: text as it is, or something that varies.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Varies,
}

/// In a pattern, words in capitals vary.
fn parts(pattern: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for c in pattern.chars() {
        match (c.is_ascii_uppercase(), parts.last_mut()) {
            (true, Some(Part::Varies)) => {}
            (true, _) => parts.push(Part::Varies),
            (false, Some(Part::Text(text))) => text.push(c),
            (false, _) => parts.push(Part::Text(c.to_string())),
        }
    }
    parts
}

/// Whether `key` is the pattern with at least one character for each part that varies.
fn fits(pattern: &[Part], key: &str) -> bool {
    match pattern {
        [] => key.is_empty(),
        [Part::Text(text), rest @ ..] => key.strip_prefix(text.as_str()).is_some_and(|key| fits(rest, key)),
        [Part::Varies] => !key.is_empty(),
        [Part::Varies, rest @ ..] => key.char_indices().skip(1).any(|(i, _)| fits(rest, &key[i..])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_fits_its_row_and_no_other() {
        let known = |key: &str| TABLE.iter().any(|row| fits(&parts(row.pattern), key));
        assert!(known("{u:0192-ab}:sessions"));
        assert!(known("{p17}:room:0192:sent:u1:c1"));
        assert!(known("{u:1}:lab:set_index:any:name"));
        assert!(!known("sessions"));
        assert!(!known("{u:}:sessions"));
        assert!(!known("{u:1}:sessions2"));
    }
}
