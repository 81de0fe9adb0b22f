//! `chatlab admin`: what an operator changes while the server runs.

use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail, ensure};
use chatlab_kit::prereq::state_dir;
use comfy_table::{Table, presets};
use ipnet::IpNet;
use serde_json::json;

use super::Global;
use crate::{
    archive::SqliteArchive,
    service::{
        addresses::MAX_RANGES,
        ports::{AddressBook, AddressRange, RangeVerdict},
    },
};

/// The longest note, in characters.
const MAX_NOTE: usize = 200;

/// Administer a server that runs, by its database
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  chatlab admin addresses deny 203.0.113.0/24 --note 'floods'
  chatlab admin addresses allow 203.0.113.7          this one all the same
  chatlab admin addresses drop 203.0.113.0/24
  chatlab admin addresses list --db /var/lib/chatlab/chatlab.db

The narrowest range that an address is in decides; an address that is in none comes
in. To let in only some: deny 0.0.0.0/0 and ::/0, and allow those. A server knows
half a second later, and closes connections from what is denied. Behind a proxy every
address is the proxy's: then deny there.")]
pub struct Args {
    /// The server's SQLite file [default: in the state folder]
    #[arg(long, value_name = "PATH", env = "CHATLAB_DB", global = true)]
    db: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Ranges of addresses that are refused or let in
    Addresses {
        #[command(subcommand)]
        verb: Verb,
    },
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// The ranges
    List,
    /// Refuse who comes from a range
    Deny(Range),
    /// Let in who comes from a range
    Allow(Range),
    /// Take a range out of the list
    Drop {
        /// The range, as `list` has it
        #[arg(value_parser = range)]
        range: IpNet,
    },
}

#[derive(Debug, clap::Args)]
struct Range {
    /// An address, or a range such as 203.0.113.0/24
    #[arg(value_parser = range)]
    range: IpNet,
    /// Why, for whoever reads the list
    #[arg(long, default_value = "", value_name = "TEXT")]
    note: String,
}

/// An address is a range of one.
fn range(text: &str) -> Result<IpNet, String> {
    let net = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address.to_canonical()),
        Err(_) => {
            text.parse::<IpNet>().map_err(|_| "it must be an address or a range, such as 203.0.113.0/24")?
        }
    };
    if net == net.trunc() {
        return Ok(net);
    }
    Err(format!("there are bits behind the prefix: {} is meant?", net.trunc()))
}

/// Does what was asked.
///
/// # Errors
/// When there is no such database or range.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let db = args.db.unwrap_or_else(|| state_dir().join("chatlab.db"));
    ensure!(db.exists(), "there is no database {}: give the server's with --db", db.display());
    let archive = SqliteArchive::open(&db).await.with_context(|| format!("database {}", db.display()))?;
    let What::Addresses { verb } = args.what;
    match verb {
        Verb::List => list(&archive, global.json).await?,
        Verb::Deny(range) => put(&archive, range, RangeVerdict::Deny).await?,
        Verb::Allow(range) => put(&archive, range, RangeVerdict::Allow).await?,
        Verb::Drop { range } => {
            ensure!(archive.drop_range(&range).await?, "{range} is not in the list");
            println!("{range} is out of the list");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn put(archive: &SqliteArchive, range: Range, verdict: RangeVerdict) -> anyhow::Result<()> {
    let Range { range: net, note } = range;
    ensure!(note.chars().count() <= MAX_NOTE, "--note: at most {MAX_NOTE} characters");
    let put = archive.put_range(&AddressRange { net, verdict, note }, MAX_RANGES).await?;
    if !put {
        bail!("there are {MAX_RANGES} ranges already: drop one first");
    }
    println!("{} {net}", verdict.as_str());
    Ok(())
}

async fn list(archive: &SqliteArchive, json: bool) -> anyhow::Result<()> {
    let ranges = archive.ranges(MAX_RANGES).await?;
    if json {
        let row = |range: &AddressRange| json!({ "range": range.net.to_string(), "verdict": range.verdict.as_str(), "note": range.note });
        println!("{}", json!({ "addresses": ranges.iter().map(row).collect::<Vec<_>>() }));
        return Ok(());
    }
    if ranges.is_empty() {
        println!("no ranges: every address comes in");
        return Ok(());
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["range", "verdict", "note"]);
    for range in ranges {
        table.add_row([range.net.to_string(), range.verdict.as_str().to_owned(), range.note]);
    }
    println!("{table}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_an_address_or_a_prefix_and_nothing_behind_it() {
        for (text, net) in [
            ("203.0.113.7", "203.0.113.7/32"),
            ("203.0.113.0/24", "203.0.113.0/24"),
            ("::ffff:203.0.113.7", "203.0.113.7/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
        ] {
            assert_eq!(range(text).unwrap().to_string(), net);
        }
        for bad in ["", "203.0.113.0/33", "203.0.113.7/24", "here", "203.0.113"] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }
}
