//! Alternative: a STREAM whose entry ids are the sequences (`XADD log 7-0 …`).
//!
//! Compact, ordered, and a range by id is O(log n + m). Entries never change: an edited message lives in a HASH beside the
//! stream, and every read looks there too. A message is found by its id through a HASH from id to sequence.

use chatlab_kit::lua::Script;

use crate::scripted::{APPEND_ARGS, CHANGE_ARGS, PAGE_ARGS, SINCE_ARGS, Structure};

/// Its scripts.
pub(crate) static STRUCTURE: Structure = Structure {
    name: "stream",
    append: Script::new(
        "history/stream_append",
        include_str!("../../../lua/history/stream_append.lua"),
        &["meta", "log", "at", "edits", "sent", "events", "live"],
        APPEND_ARGS,
    ),
    page: Script::new(
        "history/stream_page",
        include_str!("../../../lua/history/stream_page.lua"),
        &["log", "edits"],
        PAGE_ARGS,
    ),
    since: Script::new(
        "history/stream_since",
        include_str!("../../../lua/history/stream_since.lua"),
        &["meta", "log", "at", "edits"],
        SINCE_ARGS,
    ),
    change: Script::new(
        "history/stream_change",
        include_str!("../../../lua/history/stream_change.lua"),
        &["log", "at", "edits"],
        CHANGE_ARGS,
    ),
};
