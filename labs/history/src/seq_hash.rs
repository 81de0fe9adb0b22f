//! Alternative `seq_hash`: a HASH with a field for each sequence, and a counter.
//!
//! No order is stored at all. Sequences have no hole, so the ten messages before 1,000 are the fields 990 to 999: a page is
//! one `HMGET`, O(m) however long the room. It works for as long as nothing ever makes a hole.

use chatlab_kit::lua::Script;

use crate::scripted::{APPEND_ARGS, CHANGE_ARGS, PAGE_ARGS, SINCE_ARGS, Structure};

/// Its scripts.
pub(crate) static STRUCTURE: Structure = Structure {
    name: "seq_hash",
    append: Script::new(
        "history/seq_hash_append",
        include_str!("../../../lua/history/seq_hash_append.lua"),
        &["meta", "log", "at", "sent", "events", "live"],
        APPEND_ARGS,
    ),
    page: Script::new(
        "history/seq_hash_page",
        include_str!("../../../lua/history/seq_hash_page.lua"),
        &["meta", "log"],
        PAGE_ARGS,
    ),
    since: Script::new(
        "history/seq_hash_since",
        include_str!("../../../lua/history/seq_hash_since.lua"),
        &["meta", "log", "at"],
        SINCE_ARGS,
    ),
    change: Script::new(
        "history/seq_hash_change",
        include_str!("../../../lua/history/seq_hash_change.lua"),
        &["log", "at"],
        CHANGE_ARGS,
    ),
};
