//! When a thread that reads deliveries looks for more.
//!
//! On one machine a server's write wakes its reader up, if that waits already: a microsecond and more of the server's CPU for each
//! delivery, which a server whose clients are elsewhere does not spend, and a switch of tasks for each in the reader. So
//! a thread that has read something lets more come together before it looks again, as network cards do with interrupts. It
//! reads what comes meanwhile so much later, which is in every latency: a little is told too much, never too little.

use std::{cell::Cell, thread, time::Duration};

/// How long more may come together. Far below what a delivery takes, and some writes of a burst long.
pub(crate) const PAUSE: Duration = Duration::from_micros(50);

thread_local! {
    static HAS_READ: Cell<bool> = const { Cell::new(false) };
}

/// This thread has read a delivery.
pub(crate) fn note_delivery() {
    HAS_READ.set(true);
}

/// Before this thread waits for more: lets it come together, if there was something since the last time.
pub(crate) fn before_waiting() {
    if HAS_READ.take() {
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn who_has_read_pauses_once() {
        let took = || {
            let begun = Instant::now();
            before_waiting();
            begun.elapsed()
        };
        note_delivery();
        note_delivery();
        assert!(took() >= PAUSE);
        assert!(!HAS_READ.get(), "one pause for all that was read");
    }
}
