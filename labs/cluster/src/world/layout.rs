//! Steps about where keys lie: how evenly rooms are spread, and whether every stored key was named.

use std::collections::{HashMap, HashSet};

use chatlab_kit::{
    LabResult,
    check::{Stop, stored_keys},
    ids::RoomId,
    slots::{SLOTS, slot},
};

use super::{Topic, World};
use crate::history::Step;
use crate::trace::{in_two_slots, keys_of};

/// The most of all rooms that one slot may hold. 256 even partitions hold 0.4 % each.
const SLOT_SHARE_MAX: f64 = 0.02;
/// The most that the fullest node may hold, as a multiple of an even share.
const NODE_SHARE_MAX: f64 = 1.25;
/// The numbers of masters for which that must be so.
const MASTERS: std::ops::RangeInclusive<usize> = 3..=6;

impl World<'_> {
    pub(super) async fn spread(&mut self, step: &Step, rooms: &[RoomId]) -> Result<(), Stop> {
        // One room is really written to, so that the report shows a command with the variant's own names.
        self.plain(&Step::Append { room: 0, text: "here".to_owned() }).await?;
        let mut by_slot: HashMap<u16, usize> = HashMap::new();
        for room in rooms {
            let keys = self.writer.keys(room).map_err(|error| {
                self.record.line(format!("{step}  → {error}"));
                Stop::of("keys", error)
            })?;
            let names: Vec<&str> = keys.iter().map(String::as_str).collect();
            if names.is_empty() || !names.iter().all(|name| name.contains(&room.to_string())) {
                self.fact(Topic::Spread, Err("keys names no key, or one without the room's id".to_owned()));
                return Ok(());
            }
            if let Some(why) = in_two_slots(&names) {
                self.fact(Topic::Slots, Err(format!("a room has {why}")));
            }
            *by_slot.entry(slot(names[0].as_bytes())).or_default() += 1;
        }
        self.record.line(format!("{step}  → in {} slots", by_slot.len()));
        self.fact(Topic::Spread, is_even(&by_slot, rooms.len()));
        Ok(())
    }

    /// Every stored key of these rooms was named by a command, and is where `keys` says that the room is.
    pub(super) async fn declared(&mut self, step: &Step) -> LabResult<()> {
        let trace = self.subject.trace();
        let entries = trace.entries();
        if trace.dropped() > 0 {
            return Ok(());
        }
        let named: HashSet<&str> = entries.iter().flat_map(|entry| keys_of(&entry.command)).collect();
        let mut stored = 0;
        let mut secret = None;
        let ids: Vec<String> = self.rooms.iter().map(ToString::to_string).collect();
        let all = stored_keys(&self.probe, "*").await?;
        for key in all.into_iter().filter(|key| ids.iter().any(|id| key.contains(id.as_str()))) {
            stored += 1;
            if !named.contains(key.as_str()) {
                secret = Some(key);
            }
        }
        self.record.line(format!("{step}  → {stored} of these rooms"));
        match secret {
            Some(key) => {
                let why = format!("{key} is stored, and no command or script named it as a key");
                self.fact(Topic::Declared, Err(why));
            }
            None if stored > 0 => self.fact(Topic::Declared, Ok(())),
            None => {}
        }
        Ok(())
    }
}

/// Whether rooms lie evenly over slots, and over nodes that share the slots in equal ranges.
fn is_even(by_slot: &HashMap<u16, usize>, rooms: usize) -> Result<(), String> {
    // Far below 2^52: exact.
    let all = rooms as f64;
    let fullest = by_slot.values().max().copied().unwrap_or(0);
    if fullest as f64 > all * SLOT_SHARE_MAX {
        let share = fullest as f64 / all * 100.0;
        return Err(format!(
            "{fullest} of {rooms} rooms lie in one slot ({share:.0} %), in {} slots altogether",
            by_slot.len()
        ));
    }
    for masters in MASTERS {
        let mut nodes = vec![0_usize; masters];
        for (slot, count) in by_slot {
            nodes[usize::from(*slot) * masters / usize::from(SLOTS)] += count;
        }
        let fullest = nodes.iter().max().copied().unwrap_or(0);
        if fullest as f64 > all / masters as f64 * NODE_SHARE_MAX {
            return Err(format!("of {masters} masters one has {fullest} of {rooms} rooms"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_and_uneven_spreads_are_told_apart() {
        let even: HashMap<u16, usize> = (0..256).map(|i| (i * 64 + 3, 10)).collect();
        assert!(is_even(&even, 2_560).is_ok());
        assert!(is_even(&HashMap::from([(7, 100)]), 100).is_err());
        let one_node: HashMap<u16, usize> = (0..256).map(|i| (i * 16, 10)).collect();
        assert!(is_even(&one_node, 2_560).unwrap_err().contains("3 masters"));
    }
}
