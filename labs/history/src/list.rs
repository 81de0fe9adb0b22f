//! Alternative: a LIST of envelopes, oldest first.
//!
//! Sequences have no hole, so a message's index is its sequence less the oldest one's: `LRANGE` finds a page by arithmetic, and
//! then walks to it from the nearer end, O(d). Near the end, where people read, that is nothing. `LSET` edits in place. A
//! message is found by its id through a second structure, a HASH from id to sequence.

use chatlab_kit::lua::Script;

use crate::scripted::{APPEND_ARGS, CHANGE_ARGS, PAGE_ARGS, SINCE_ARGS, Structure};

/// Its scripts.
pub(crate) static STRUCTURE: Structure = Structure {
    name: "list",
    append: Script::new(
        "history/list_append",
        include_str!("../../../lua/history/list_append.lua"),
        &["meta", "log", "at", "sent", "events", "live"],
        APPEND_ARGS,
    ),
    page: Script::new(
        "history/list_page",
        include_str!("../../../lua/history/list_page.lua"),
        &["meta", "log"],
        PAGE_ARGS,
    ),
    since: Script::new(
        "history/list_since",
        include_str!("../../../lua/history/list_since.lua"),
        &["meta", "log", "at"],
        SINCE_ARGS,
    ),
    change: Script::new(
        "history/list_change",
        include_str!("../../../lua/history/list_change.lua"),
        &["meta", "log", "at"],
        CHANGE_ARGS,
    ),
};
