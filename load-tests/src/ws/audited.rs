//! What a thread does with frames in a run with faults: by message and subscriber, whatever the sequence.

use chatlab_kit::{ids::RoomId, message::Position};

use super::{
    audit::{Audit, Resync},
    shared::{Shared, take},
    state::{Heard, Member, Membership, State},
};
use crate::{
    faults::Class,
    payload::{BadPayload, Delivery, Payload},
    recorder::Instants,
};

impl State {
    /// A delivery that should not have been so.
    fn odd(&mut self, kind: &'static str) {
        if let Some(notes) = &mut self.notes {
            notes.note(Class::Ledger, kind);
        }
    }

    /// Takes in a delivery.
    pub(super) fn deliver_audited(
        &mut self,
        shared: &Shared,
        audit: &Audit,
        member: &mut Member,
        delivery: &Delivery<'_>,
    ) {
        let now_ns = shared.now_ns();
        let Some(membership) = member.rooms.iter_mut().find(|m| shared.is_room(m.room, delivery.room)) else {
            self.ledger.counts.misrouted += 1;
            return self.odd("misrouted");
        };
        let in_order = membership.advance(audit, delivery);
        let payload = match Payload::parse(delivery.body.as_bytes()) {
            Ok(payload) if payload.run == shared.run => payload,
            Ok(_) | Err(BadPayload::Foreign) => {
                self.ledger.counts.foreign += 1;
                return;
            }
            Err(BadPayload::Corrupt) => {
                self.ledger.counts.corrupt += 1;
                return self.odd("corrupt");
            }
        };
        let Some(slot) = shared.slots.get(payload.number as usize) else {
            self.ledger.counts.corrupt += 1;
            return self.odd("corrupt");
        };
        if payload.room != membership.room {
            self.ledger.counts.misrouted += 1;
            return self.odd("misrouted");
        }
        let (epoch, ordinal) = (membership.epoch, membership.ordinal);
        if !audit.place(payload.number, slot, epoch, delivery.seq) {
            self.ledger.counts.stored_twice += 1;
            self.odd("delivered under two sequences");
        }
        if !audit.reach(payload.number, ordinal, now_ns) {
            self.ledger.counts.duplicated += 1;
            return self.odd("duplicated");
        }
        self.ledger.counts.delivered += 1;
        if !in_order {
            self.ledger.counts.reordered += 1;
            self.odd("reordered");
        }
        let at = Instants { intended_ns: payload.intended_ns, sent_ns: slot.sent_ns(), done_ns: now_ns };
        self.reached(shared, slot, (payload.room, payload.number), at);
    }

    /// Takes in an ack.
    pub(super) fn acknowledge_audited(
        &mut self,
        shared: &Shared,
        audit: &Audit,
        (number, home): (u32, u16),
        (epoch, seq): (&str, u64),
        dup: bool,
    ) {
        audit.answered(number, true, shared.now_ns());
        let epoch = audit.epoch(home, epoch);
        let slot = &shared.slots[number as usize];
        if !audit.place(number, slot, epoch, seq) {
            self.ledger.counts.stored_twice += 1;
            self.odd("acknowledged under two sequences");
        }
        if let Some(notes) = &mut self.notes {
            notes.dup_acks += u64::from(dup);
        }
    }

    /// The server says that a room's messages must be read from the history, up to `head`.
    pub(super) fn resync(&mut self, shared: &Shared, member: &mut Member, room: RoomId, head: Position) {
        let (Some(audit), Some(notes)) = (&shared.audit, &mut self.notes) else { return };
        let id = room.to_string();
        let Some(membership) = member.rooms.iter_mut().find(|m| shared.is_room(m.room, &id)) else { return };
        membership.epoch = audit.epoch(membership.room, &head.epoch.0);
        notes.resync(Resync {
            room: membership.room,
            ordinal: membership.ordinal,
            at_ns: shared.now_ns(),
            epoch: membership.epoch,
            seq: head.seq,
        });
        membership.at = head;
    }

    /// A send that will not be tried again: with an error as its answer, or with none.
    pub(super) fn give_up(&mut self, shared: &Shared, number: u32, refused: bool) {
        let Some(slot) = shared.slots.get(number as usize) else { return };
        if slot.mark_answered() {
            take(&shared.counters.in_flight, 1);
            if let (true, Some(audit)) = (refused, &shared.audit) {
                audit.answered(number, false, shared.now_ns());
            }
        }
    }

    /// An error frame to a send: whether it may be sent again, which is not decided here.
    pub(super) fn refused_audited(&mut self, shared: &Shared, id: u64, again: bool) -> Heard {
        let number = id.wrapping_sub(1);
        match u32::try_from(number) {
            Ok(number) if (number as usize) < shared.slots.len() => Heard::Refused { number, again },
            _ => Heard::Nothing,
        }
    }

    /// A send went out while its connection was whole when it was due, or after it had waited for another connection: that
    /// wait is the server's, not the pacer's.
    pub(super) fn note_sent_audited(&mut self, shared: &Shared, number: u32, intended_ns: u64, waited: bool) {
        let now_ns = shared.now_ns();
        if number < shared.first_measured {
            return;
        }
        self.sent_measured += 1;
        match waited {
            true => self.recorder.sent_late(now_ns),
            false => self.recorder.sent(intended_ns, now_ns),
        }
    }
}

impl Membership {
    /// Moves the position to a delivery; false when it came out of order.
    fn advance(&mut self, audit: &Audit, delivery: &Delivery<'_>) -> bool {
        let same = self.at.epoch.0 == delivery.epoch;
        if same && delivery.seq <= self.at.seq {
            return false;
        }
        if !same {
            self.at.epoch.0 = delivery.epoch.into();
            self.epoch = audit.epoch(self.room, delivery.epoch);
        }
        self.at.seq = delivery.seq;
        self.at.id = delivery.id.parse().ok();
        true
    }
}
