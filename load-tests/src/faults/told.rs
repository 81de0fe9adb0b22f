//! What the generator is told of faults while it runs.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{Injected, MAX_FAULTS};

/// How often [`Told::wait`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Faults that were done: filled by whoever listens to the process that does them.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<Mutex<Vec<Injected>>>);

impl Told {
    fn lock(&self) -> MutexGuard<'_, Vec<Injected>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a fault; one over [`MAX_FAULTS`] is dropped.
    pub fn push(&self, injected: Injected) {
        let mut all = self.lock();
        if all.len() < MAX_FAULTS {
            all.push(injected);
        }
    }

    /// Waits until so many were told, at most `bound`; `tick` is called meanwhile. Blocks.
    pub fn wait(&self, count: usize, bound: Duration, mut tick: impl FnMut()) -> Vec<Injected> {
        let give_up = Instant::now() + bound;
        while self.lock().len() < count && Instant::now() < give_up {
            tick();
            thread::sleep(LOOK_EVERY);
        }
        self.lock().clone()
    }
}
