//! The command line: one file a subcommand.

use std::path::PathBuf;

pub mod doctor;
pub mod redis;
pub mod setup;

/// Options that every verb understands.
#[derive(Debug, Clone, clap::Args)]
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
