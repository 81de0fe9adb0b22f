//! One generator thread: its share of the connections on a single-threaded runtime, with a [`State`] of its own.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Instant};

use tokio::{
    runtime::Builder,
    sync::{Semaphore, mpsc::UnboundedReceiver},
    task::LocalSet,
};

use super::{
    LoadError, churn,
    conn::{Context, live},
    foreign, poll, resume,
    shared::{Due, Shared},
    slow,
    state::State,
};
use crate::{recorder::LAG_TICK, recording::Live};

/// A thread's connections: their numbers and queues.
pub(super) type Share = Vec<(usize, UnboundedReceiver<Due>)>;

/// The thread's body: lives until the last of its connections ends.
pub(super) fn run(shared: &Arc<Shared>, share: Share, recording: Option<Live>) -> Result<State, LoadError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(LoadError::Runtime)?;
    let state = Rc::new(RefCell::new(State::new(shared, recording)?));
    let gate = Rc::new(Semaphore::new(shared.plan.connect_concurrency.div_ceil(shared.plan.threads)));
    let local = LocalSet::new();
    let tasks: Vec<_> = share
        .into_iter()
        .map(|(index, queue)| {
            let (shared, state, gate) = (Arc::clone(shared), Rc::clone(&state), Rc::clone(&gate));
            let churns = index >= shared.plan.tokens.len();
            let slows = index >= shared.plan.tokens.len() + shared.plan.churn.tokens.len();
            let context = Context { shared, state, gate, index };
            let foreign = context.shared.foreign.is_some();
            let asks = context.shared.plan.polls(index);
            match asks {
                _ if foreign => local.spawn_local(foreign::live(context, queue)),
                _ if slows => local.spawn_local(slow::live(context, queue)),
                _ if churns => local.spawn_local(churn::live(context, queue)),
                Some(receive) => local.spawn_local(poll::live(context, receive, queue)),
                None if context.shared.audit.is_some() => local.spawn_local(resume::live(context, queue)),
                None => local.spawn_local(live(context, queue)),
            }
        })
        .collect();
    let ticking = local.spawn_local(tick(Arc::clone(shared), Rc::clone(&state)));
    local.block_on(&runtime, async {
        for task in tasks {
            // A task that panicked leaves its connection unaccounted for: that is no result.
            task.await.map_err(|e| LoadError::Thread(e.to_string()))?;
        }
        ticking.abort();
        // Aborted as it is, this is no error; what it held is free then.
        let _ = ticking.await;
        Ok::<_, LoadError>(())
    })?;
    drop(local);
    let state = Rc::try_unwrap(state).map_err(|_| LoadError::Thread("state still in use".into()))?;
    Ok(state.into_inner())
}

/// Looks how late the thread is, and ends the seconds of the recording in which nothing happens.
async fn tick(shared: Arc<Shared>, state: Rc<RefCell<State>>) {
    let mut due = Instant::now();
    loop {
        due += LAG_TICK;
        // Ticks that were missed are not left out: each of them was late.
        tokio::time::sleep_until(due.into()).await;
        let now_ns = shared.now_ns();
        let recorder = &mut state.borrow_mut().recorder;
        if shared.in_window(now_ns) {
            recorder.runtime_lag.record_ns(due.elapsed().as_nanos() as u64);
        }
        recorder.tick(now_ns);
    }
}
