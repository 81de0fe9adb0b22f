//! `chatlab admin`: what an operator sees and changes while the server runs.

mod addresses;
mod rooms;
mod show;
mod users;

use std::{process::ExitCode, sync::Arc};

use anyhow::{Context, anyhow, ensure};
use chatlab_kit::{ids::UserId, redis::RedisConfig};

use super::{Global, place::RedisArgs};
use crate::{
    app::{Operator, open_archive},
    config::{Choice, Database, ServerConfig, Variants},
    service::{
        ServiceError, ServiceResult,
        accounts::MAX_NAME,
        ports::{Archive, UserEntry},
        vault::Vault,
    },
};

/// Administer a server that runs, by its database and its Redis
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  chatlab admin users list --after ada --limit 20
  chatlab admin users show ada --redis-url redis://127.0.0.1:6379
  chatlab admin users logout ada                     with CHATLAB_REDIS_URL set
  chatlab admin rooms members ROOM --db /var/lib/chatlab/chatlab.db
  chatlab admin rooms role ROOM ada moderator
  chatlab admin rooms ban ROOM eve
  chatlab admin rooms notify ROOM 'back in a minute'
  chatlab admin addresses deny 203.0.113.0/24 --note 'floods'
  chatlab admin addresses allow 203.0.113.7          this one all the same

What only looks needs the database. What changes users and rooms needs the
server's Redis too, by which every process is told, and its --variant, if it
runs others than the references. It holds at once; the audit log has it.")]
pub struct Args {
    /// The server's database: a SQLite file, or postgres://USER:PASSWORD@HOST/NAME [default: a file in the state folder]
    #[arg(long, value_name = "PATH|URL", env = "CHATLAB_DB", hide_env_values = true, global = true)]
    db: Option<Database>,
    #[command(flatten)]
    redis: RedisArgs,
    /// The variant of a lab that the server runs instead of the reference; may be repeated
    #[arg(long, value_name = "LAB=NAME", global = true)]
    variant: Vec<Choice>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Who has an account, and their log-ins
    Users {
        #[command(subcommand)]
        verb: users::Verb,
    },
    /// Rooms: members, roles and bans
    Rooms {
        #[command(subcommand)]
        verb: rooms::Verb,
    },
    /// Ranges of addresses that are refused or let in
    #[command(after_help = "\
The narrowest range that an address is in decides; an address that is in none
comes in. To let in only some: deny 0.0.0.0/0 and ::/0, and allow those. A
server knows half a second later, and closes connections from what is denied.
Behind a proxy every address is the proxy's: then deny there.")]
    Addresses {
        #[command(subcommand)]
        verb: addresses::Verb,
    },
}

/// Does what was asked.
///
/// # Errors
/// When there is no such database, user, room or range, the rules are against it, or Redis can't be reached.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let db = args.db.unwrap_or_else(Database::usual);
    db.check()?;
    if let Database::File(path) = &db {
        ensure!(path.exists(), "there is no database {db}: give the server's with --db");
    }
    let place =
        Place { db, redis: args.redis.config()?, variants: Variants::new(args.variant), json: global.json };
    match args.what {
        What::Users { verb } => users::run(verb, &place).await?,
        What::Rooms { verb } => rooms::run(verb, &place).await?,
        What::Addresses { verb } => addresses::run(verb, &place).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the server's things are, and how to answer.
struct Place {
    db: Database,
    redis: Option<RedisConfig>,
    variants: Variants,
    json: bool,
}

impl Place {
    async fn archive(&self) -> anyhow::Result<Arc<dyn Archive>> {
        open_archive(&self.db).await
    }

    /// What changes users and rooms. It is to be ended by [`ended`].
    async fn operator(&self, vault: Vault) -> anyhow::Result<Operator> {
        let redis = self.redis.clone().context(
            "which Redis does the server run on? Give --redis-url redis://HOST:PORT, \
             or --redis-nodes HOST:PORT,… --topology cluster",
        )?;
        let variants = self.variants.clone();
        let config = ServerConfig { variants, ..ServerConfig::new(redis, self.db.clone()) };
        Operator::open(&config, vault).await
    }
}

/// Ends what was asked of an operator: also when it was refused, nothing that waits is left behind.
async fn ended<T>(operator: Operator, done: anyhow::Result<T>) -> anyhow::Result<T> {
    let finished = operator.finish().await;
    let done = done?;
    finished.context("it is done, but")?;
    Ok(done)
}

/// A refusal in its own words; a fault with its cause.
fn told<T>(answer: ServiceResult<T>) -> anyhow::Result<T> {
    answer.map_err(|error| match error {
        ours if ours.is_ours() => anyhow!(ours),
        ServiceError { message, .. } => anyhow!(message),
    })
}

/// The user of that name in any case, or of that id: which is longer than any name.
async fn user_of(archive: &dyn Archive, text: &str) -> anyhow::Result<UserEntry> {
    let found = match text.parse::<UserId>() {
        Ok(id) if text.len() > MAX_NAME => archive.user(&id).await?,
        _ => archive.user_by_name(text).await?.map(|user| UserEntry {
            user: user.id,
            name: user.name,
            created_ms: user.created_ms,
        }),
    };
    found.with_context(|| format!("there is no user `{text}`"))
}
