//! What the checks ask of a variant: instances of their own space, each of which can be crashed or held at any moment.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chatlab_kit::{
    ids::InstanceId,
    redis::{Hook, Redis},
};
use redis::RedisError;

use crate::{Policy, Presence, build_in};

/// Makes instances of one variant over one handle.
pub(crate) struct Fleet {
    /// The variant's name.
    pub(crate) variant: &'static str,
    pub(crate) redis: Redis,
    pub(crate) policy: Policy,
}

impl Fleet {
    /// The instance `id` of a space; none for a name that is no variant.
    pub(crate) fn instance(&self, space: &str, id: InstanceId) -> Option<Arc<dyn Presence>> {
        build_in(space, self.variant, self.redis.clone(), id, self.policy)
    }
}

/// A hook that another hook can be put into, and taken out again.
#[derive(Default)]
pub(crate) struct Switch {
    /// The hook, and how many commands it has seen.
    armed: Mutex<Option<(Arc<dyn Hook>, u64)>>,
}

impl Switch {
    /// From now on `hook` sees each command, counted from 0.
    pub(crate) fn arm(&self, hook: Arc<dyn Hook>) {
        *self.armed.lock().unwrap_or_else(PoisonError::into_inner) = Some((hook, 0));
    }

    /// From now on commands pass.
    pub(crate) fn disarm(&self) {
        *self.armed.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn next(&self, count: u64) -> Option<(Arc<dyn Hook>, u64)> {
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        let (hook, seen) = armed.as_mut()?;
        let n = *seen;
        *seen += count;
        Some((hook.clone(), n))
    }
}

#[async_trait]
impl Hook for Switch {
    async fn before(&self, _n: u64, command: &[String]) -> Result<(), RedisError> {
        match self.next(1) {
            Some((hook, n)) => hook.before(n, command).await,
            None => Ok(()),
        }
    }

    async fn after(&self, _n: u64, command: &[String]) -> Result<(), RedisError> {
        match self.next(0) {
            Some((hook, n)) => hook.after(n, command).await,
            None => Ok(()),
        }
    }
}
