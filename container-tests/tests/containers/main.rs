//! Redis, Valkey, PostgreSQL and chatlab itself in containers, by images of which none has to be pulled.
//!
//! For each server version: the author gate and the guarantee tests run inside its image, on that image's server; and chatlab in
//! containers talks to the version in others, one node and six. Then the archive's tests on PostgreSQL, the image of chatlab, and the whole stack
//! of `docker/compose.stack.yml`, which is broken while people talk by it.
//!
//! Without a Docker engine, or without the images, all are ignored, unless `CHATLAB_CONTAINERS=required`.
// Helpers of tests are not `#[test]` functions themselves, which is where these are allowed by default.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backup;
mod built;
mod compose;
mod conversation;
mod engine;
mod http;
mod image;
mod inside;
mod matrix;
mod nodes;
mod postgres;
mod served;
mod settings;
mod stack;
mod talker;

use std::{
    process::ExitCode,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use libtest_mimic::{Arguments, Failed, Trial};

use settings::Settings;

/// Trials at a time: most of what runs in them waits for servers. Each version's suites take the processors' time of one.
const AT_ONCE: usize = 4;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let settings: &'static Settings = Box::leak(Box::new(Settings::read()));
    let lacking = if arguments.list { None } else { engine::lacking(settings) };
    if let Some(why) = &lacking {
        println!("{}: {why}", if settings.required { "cannot run" } else { "skipped, all of them" });
    } else if !arguments.list {
        engine::sweep();
    }
    let skipped = lacking.is_some() && !settings.required;
    let trials = trials(settings).into_iter().map(|trial| trial.with_ignored_flag(skipped)).collect();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let conclusion = libtest_mimic::run(&arguments, trials);
    matrix::show();
    conclusion.exit_code()
}

/// Gates are alone: they judge how long things took.
static QUIET: RwLock<()> = RwLock::new(());

/// Those that wait for nobody, then the gates: once a gate waits for its turn, no other trial begins.
fn trials(settings: &'static Settings) -> Vec<Trial> {
    let mut trials = vec![trial("stack::is_broken_while_people_talk", move || stack::is_broken(settings))];
    for image in &settings.redis {
        let name = image.replace(['/', ':'], "-");
        trials.extend([
            trial(format!("{name}::guarantees"), move || inside::guarantees(settings, image)),
            trial(format!("{name}::served::cluster"), move || served::by_cluster(settings, image)),
            trial(format!("{name}::served::single"), move || served::by_single(settings, image)),
        ]);
    }
    for image in &settings.postgres {
        let name = image.replace(['/', ':'], "-");
        trials.push(trial(format!("{name}::archive"), move || postgres::archive(settings, image)));
    }
    trials.push(trial("stack::a_backup_restores", move || backup::restores(settings)));
    trials.push(trial("image::is_small_and_may_write_nowhere", move || image::is_sound(settings)));
    trials.push(trial("engine::what_a_killed_run_left_is_removed", move || engine::is_swept(settings)));
    for image in &settings.redis {
        let name = format!("{}::author_gate", image.replace(['/', ':'], "-"));
        trials.push(alone(name, move || inside::author_gate(settings, image)));
    }
    trials
}

/// A trial beside which nothing else runs.
fn alone<F>(name: impl Into<String>, test: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = anyhow::Result<()>>,
{
    run_by(name, test, || Turn::Alone(QUIET.write().unwrap_or_else(PoisonError::into_inner)))
}

/// What a trial holds while it runs.
enum Turn {
    Alone(#[allow(dead_code, reason = "held")] RwLockWriteGuard<'static, ()>),
    Beside(#[allow(dead_code, reason = "held")] RwLockReadGuard<'static, ()>),
}

/// A trial with a runtime of its own. All names have `containers` in them, so that one word names all.
fn trial<F>(name: impl Into<String>, test: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = anyhow::Result<()>>,
{
    run_by(name, test, || Turn::Beside(QUIET.read().unwrap_or_else(PoisonError::into_inner)))
}

fn run_by<F>(
    name: impl Into<String>,
    test: impl FnOnce() -> F + Send + 'static,
    turn: impl FnOnce() -> Turn + Send + 'static,
) -> Trial
where
    F: Future<Output = anyhow::Result<()>>,
{
    Trial::test(format!("containers::{}", name.into()), move || {
        let _turn = turn();
        let runtime = tokio::runtime::Runtime::new().map_err(Failed::from)?;
        runtime.block_on(Box::pin(test())).map_err(|error| Failed::from(format!("{error:#}")))
    })
}
