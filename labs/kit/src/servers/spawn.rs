//! Starting children that die with us.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel, sync_channel};

use rustix::process::Signal;

type Job = Box<dyn FnOnce() + Send>;

/// Starts `command` as a child that the kernel sends `last` when this process ends, however it ends (Linux; elsewhere the
/// janitor alone sees to its end). The child gets a process group of its own, so that Ctrl-C in a terminal reaches this
/// process only, which then ends its children itself.
pub(super) fn spawn_bound(mut command: Command, last: Signal) -> io::Result<Child> {
    let (answer, answered) = sync_channel(1);
    let job: Job = Box::new(move || {
        let _ = answer.send(spawn_here(&mut command, last));
    });
    spawner()?.send(job).map_err(|_| io::Error::other("the spawning thread is gone"))?;
    answered.recv().map_err(|_| io::Error::other("the spawning thread is gone"))?
}

/// The parent-death signal is sent when the *thread* that spawned the child ends, not when the process does. A child
/// started from a test's thread or a runtime's worker would be killed with that thread, so one thread that lives as long
/// as the process starts them all.
fn spawner() -> io::Result<&'static Sender<Job>> {
    static SPAWNER: OnceLock<Sender<Job>> = OnceLock::new();
    if let Some(jobs) = SPAWNER.get() {
        return Ok(jobs);
    }
    let (jobs, queue) = channel::<Job>();
    std::thread::Builder::new().name("server-spawner".to_owned()).spawn(move || {
        for job in queue {
            job();
        }
    })?;
    // When two threads get here together, the loser's channel is dropped and its thread ends without a child.
    Ok(SPAWNER.get_or_init(|| jobs))
}

#[cfg(target_os = "linux")]
fn spawn_here(command: &mut Command, last: Signal) -> io::Result<Child> {
    use std::os::unix::process::CommandExt;

    let owner = rustix::process::getpid();
    let before_exec = move || {
        rustix::process::set_parent_process_death_signal(Some(last))?;
        // The owner may have died between fork and the line above; then nobody would ever send the signal.
        if rustix::process::getppid() == Some(owner) {
            Ok(())
        } else {
            Err(io::Error::from(rustix::io::Errno::SRCH))
        }
    };
    command.process_group(0);
    // SAFETY: after fork in a process with threads only async-signal-safe calls are allowed until exec. The closure makes
    // two plain system calls (prctl, getppid), allocates nothing and takes no lock.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(before_exec);
    }
    command.spawn()
}

#[cfg(not(target_os = "linux"))]
fn spawn_here(command: &mut Command, _last: Signal) -> io::Result<Child> {
    use std::os::unix::process::CommandExt;

    command.process_group(0).spawn()
}
