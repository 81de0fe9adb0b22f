//! The command line: one file a subcommand.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory, Parser, Subcommand};

pub mod admin;
pub mod bench;
pub mod chat;
pub mod check;
pub mod console;
pub mod demo;
pub mod dev;
pub mod doctor;
pub mod events;
pub mod experiment;
pub mod fuzz;
pub mod hint;
pub mod keys;
pub mod list;
pub mod load;
pub mod next;
pub mod place;
pub mod play;
pub mod proxy;
pub mod race;
pub mod read;
pub mod redis;
pub mod reset;
pub mod serve;
pub mod setup;
pub mod solution;
pub mod test;
pub mod watch;

/// What every exit code means; shown by `--help`.
const EXIT_CODES: &str = "\
Exit codes:
  0  it worked; every check passed
  1  a check or a test failed
  2  it could not be done: bad arguments, something missing, a fault of the machine
  3  a measurement is not valid (see its verdict)
  4  a check was inconclusive

Start with:
  chatlab demo                the whole path on one Redis node and on six
  chatlab next                what to do now: the way through the labs
  chatlab list                the labs, and how far you are

A lab has two tracks. At the console (or with your own client through `proxy`)
you type commands; in labs/LAB/src/exercise.rs you write code.";

/// Learn Redis data structures behind a live chat server, and measure what each one does
#[derive(Debug, Parser)]
#[command(name = "chatlab", version, after_help = EXIT_CODES, max_term_width = 80)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// Options that every verb understands.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Answer yes to every question (installs what is missing without asking)
    #[arg(long, short = 'y', global = true)]
    pub yes: bool,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// The redis-server or valkey-server to use, instead of searching for one
    #[arg(long, global = true, env = "CHATLAB_REDIS_SERVER", value_name = "PATH")]
    pub redis_server: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The main job: chat on one node and on six, checked and measured side by side
    Demo(demo::Args),
    /// Run the chat server
    Serve(Box<serve::Args>),
    /// Talk in the rooms of a chat server, from a terminal or a script
    Chat(chat::Args),
    /// What an operator changes while the server runs
    Admin(admin::Args),
    /// The keys that messages are encrypted with
    Keys(keys::Args),
    /// The server's event topics: who reads them, how far, and what was given up
    Events(events::Args),
    /// Start, stop and look at Redis servers of chatlab's own
    Redis(redis::Args),
    /// The labs and how far you are; one lab in detail
    List(list::Args),
    /// The one thing to do now
    Next(next::Args),
    /// Read a lab's lesson
    Read(read::Args),
    /// A lab's steps at a prompt, on a private server
    Console(console::Args),
    /// A lab's steps for your own redis-cli or program
    Proxy(proxy::Args),
    /// Run a lab's checks on your exercise, on a variant, or on all
    Check(check::Args),
    /// Check your exercise whenever you save it
    Watch(watch::Args),
    /// The next layer of the hint that fits
    Hint(hint::Args),
    /// The reference, after a pass or as a surrender
    Solution(solution::Args),
    /// Two clients' commands in every order
    Race(race::Args),
    /// Begin a lab, or a part of it, afresh
    Reset(reset::Args),
    /// Run a lab's experiment: predict, run, explain
    Experiment(experiment::Args),
    /// For authors of labs: what a lab must pass before it ships
    Dev(dev::Args),
    /// Benchmark a lab's variants
    Bench(bench::Args),
    /// Load the chat server and judge the run
    Load(Box<load::Args>),
    /// Run the chat server with your variant of a lab
    Play(play::Args),
    /// What is installed, what is missing, and how to get it
    Doctor(doctor::Args),
    /// Run every test, installing what they need (with consent)
    Test(test::Args),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

impl Cli {
    /// Runs the verb.
    async fn run(self) -> anyhow::Result<ExitCode> {
        let global = &self.global;
        match self.verb {
            Verb::Demo(args) => demo::run(args, global).await,
            Verb::Serve(args) => serve::run(*args, global).await,
            Verb::Chat(args) => chat::run(args, global).await,
            Verb::Admin(args) => admin::run(args, global).await,
            Verb::Keys(args) => keys::run(args),
            Verb::Events(args) => events::run(args, global).await,
            Verb::Redis(args) => redis::run(args, global).await,
            Verb::List(args) => list::run(args, global).await,
            Verb::Next(args) => next::run(args, global).await,
            Verb::Read(args) => read::run(args, global).await,
            Verb::Console(args) => console::run(args, global).await,
            Verb::Proxy(args) => proxy::run(args, global).await,
            Verb::Check(args) => check::run(args, global).await,
            Verb::Watch(args) => watch::run(args, global).await,
            Verb::Hint(args) => hint::run(args, global).await,
            Verb::Solution(args) => solution::run(args, global).await,
            Verb::Race(args) => race::run(args, global).await,
            Verb::Reset(args) => reset::run(args, global).await,
            Verb::Experiment(args) => experiment::run(args, global).await,
            Verb::Dev(args) => dev::run(args, global).await,
            Verb::Bench(args) => bench::run(args, global).await,
            Verb::Load(args) => load::run(*args, global).await,
            Verb::Play(args) => play::run(args, global).await,
            Verb::Doctor(args) => doctor::run(args, global).await,
            Verb::Test(args) => test::run(args, global).await,
            Verb::Completions { shell } => {
                clap_complete::generate(shell, &mut Self::command(), "chatlab", &mut std::io::stdout());
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// The whole program, which calls itself `program` in its errors. Neither async nor generic, so that it is compiled once, here,
/// and not again in every program that calls it.
pub fn main(program: &str) -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{program}: cannot start threads: {error}");
            return ExitCode::from(EXIT_ERROR);
        }
    };
    runtime.block_on(cli.run()).unwrap_or_else(|error| {
        eprintln!("{program}: {error:#}");
        ExitCode::from(EXIT_ERROR)
    })
}

/// The exit code for what could not be done.
pub const EXIT_ERROR: u8 = 2;
/// The exit code when nothing could be proven.
pub const EXIT_INCONCLUSIVE: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
