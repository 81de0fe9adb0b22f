//! The books of a run with faults: every message of the window with its room, its answers and its deliveries.

use std::collections::HashMap;

use super::{
    audit::{Audit, Resync},
    history,
    shared::{Shared, get},
    state::State,
};
use crate::{
    faults::{
        Books, Injected,
        account::{Accounts, Answer, Record},
    },
    ledger::{Ledger, Totals},
};

/// Gathers what the threads noted, and reads the rooms' histories back. Blocks.
pub(super) fn gather(shared: &Shared, audit: &Audit, state: &mut State, injected: Vec<Injected>) -> Books {
    let end_ns = shared.now_ns();
    let window_start_ns = get(&shared.window_start_ns);
    let notes = state.notes.take();
    let mut resyncs: HashMap<u16, Vec<Resync>> = HashMap::new();
    for resync in notes.iter().flat_map(|notes| &notes.resyncs) {
        resyncs.entry(resync.room).or_default().push(*resync);
    }
    let stored = history::read(shared);
    let record = |(nth, arrival): (usize, crate::schedule::Arrival)| {
        let number = shared.first_measured + nth as u32;
        let room = shared.plan.rooms_of(arrival.client as usize).next().unwrap_or(0) as u16;
        let due_ns = window_start_ns + arrival.at_ns;
        let told = resyncs.get(&room).map_or(&[][..], Vec::as_slice);
        let record = audit.record(shared, number, (room, due_ns), told);
        Record { stored: stored.times(room, number), ..record }
    };
    let counted = Accounts {
        acked_counted: state.acked_measured,
        sent_counted: state.sent_measured,
        dup_acks: notes.as_ref().map_or(0, |notes| notes.dup_acks),
        resyncs: notes.as_ref().map_or(0, |notes| notes.resyncs_told),
        resumed: notes.as_ref().map_or(0, |notes| notes.resumed),
        not_resumed: notes.as_ref().map_or(0, |notes| notes.not_resumed),
        ..Accounts::default()
    };
    Books {
        records: shared.plan.schedule.arrivals().enumerate().map(record).collect(),
        notes: notes.map(|notes| notes.notes).unwrap_or_default(),
        plan: shared.plan.faults.clone(),
        injected,
        origin_ns: shared.origin_ns,
        window_ns: (window_start_ns, window_start_ns + shared.plan.schedule.duration_ns),
        end_ns,
        counted,
    }
}

/// The settled ledger's totals; with faults, from the books.
pub(super) fn closed(shared: &Shared, ledger: Ledger, books: Option<&Books>) -> Totals {
    let counts = ledger.settle();
    match (&shared.audit, books) {
        (Some(audit), Some(books)) => totals(counts, audit, books),
        _ => counts,
    }
}

/// The ledger's totals, from the books: what was lost is of the window's acknowledged messages.
fn totals(counts: Totals, audit: &Audit, books: &Books) -> Totals {
    let acked = books.records.iter().filter(|record| record.answer == Answer::Acked);
    Totals {
        lost: acked.map(|record| u64::from(record.missed())).sum(),
        epoch_changes: audit.epoch_changes(),
        ..counts
    }
}
