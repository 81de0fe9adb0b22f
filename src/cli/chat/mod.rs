//! `chatlab chat`: talk from a terminal or a script.
//!
//! | module | for |
//! | --- | --- |
//! | [`login`] | who one is, and the token for it |
//! | [`input`] | lines from a terminal or a pipe |
//! | [`commands`] | what a line means |
//! | [`session`] | the connection: what comes, and coming back when it is lost |
//! | `acts` | doing what a line says |
//! | `hear` | what comes without being asked for, in words |
//! | `find` | rooms, users and messages by what people call them |
//! | [`names`] | what users are called |
//! | [`show`] | printing; nothing that others wrote reaches the terminal raw |

mod acts;
pub mod commands;
mod find;
mod hear;
pub mod input;
pub mod login;
pub mod names;
mod people;
pub mod session;
pub mod show;

use std::{io, path::PathBuf, process::ExitCode};

use tokio_util::sync::CancellationToken;

use super::Global;
use input::Lines;
use login::Access;
use session::{Ended, Session};
use show::Show;

/// How often a lost connection is tried again when nothing else is said.
const TRIES: u32 = 8;

const EXAMPLES: &str = "\
Examples:
  chatlab chat --register --name ada              a new account; asks for a password
  chatlab chat --name ada Tea                     talk in the room Tea
  echo hi | CHATLAB_PASSWORD=… chatlab chat --name ada Tea
  chatlab chat --name ada --password-file ada.pw --json Tea </dev/null

At the prompt: a line is sent to the room, /help lists the commands, //TEXT sends
a line that begins with a slash. Ctrl-C and Ctrl-D end it.

Exit codes:
  0  it ended as it was told to
  1  a line of the pipe was refused
  2  it could not be done: no server, wrong password, no such room";

/// Talk in the rooms of a chat server, from a terminal or a script
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The room: its name, if you are in it, or its id
    room: Option<String>,
    /// The server
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL", env = "CHATLAB_URL")]
    url: String,
    /// Who you are [default: asked for, at a terminal]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The file whose first line is the password [default: CHATLAB_PASSWORD,
    /// else asked for, at a terminal]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Make the account first
    #[arg(long)]
    register: bool,
    /// How often to try again when the connection is lost
    #[arg(long, default_value_t = TRIES, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    tries: u32,
}

/// Runs `chatlab chat`.
///
/// # Errors
/// When there is no server, no such account or room, or the connection is lost for good.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let access = Access::of(&args)?;
    let quit = CancellationToken::new();
    let told = tokio::select! {
        told = Box::pin(talk(&args, access, global.json, &quit)) => told,
        () = quit.cancelled() => Ok(Ended::Fine),
        _ = tokio::signal::ctrl_c() => Ok(Ended::Fine),
    };
    match told {
        Ok(Ended::Fine) => Ok(ExitCode::SUCCESS),
        Ok(Ended::Refused) => Ok(ExitCode::FAILURE),
        // Whoever reads has heard enough.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
    }
}

/// From the log-in to the last line.
async fn talk(args: &Args, access: Access, json: bool, quit: &CancellationToken) -> anyhow::Result<Ended> {
    let mut session = Session::open(access, Show::new(json), args.tries).await?;
    session.enter(args.room.as_deref()).await?;
    let mut lines = Lines::open(session.show(), session.prompt(), quit)?;
    let ended = session.run(&mut lines).await;
    // The terminal is as it was before anything more is said.
    lines.close();
    let ended = ended?;
    session.close().await;
    Ok(ended)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
