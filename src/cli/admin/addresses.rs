//! `chatlab admin addresses`: ranges of addresses that are refused or let in.

use std::net::IpAddr;

use anyhow::{bail, ensure};
use comfy_table::{Table, presets};
use ipnet::IpNet;
use serde_json::json;

use super::Place;
use crate::service::{
    addresses::MAX_RANGES,
    ports::{AddressRange, Archive, RangeVerdict},
};

/// The longest note, in characters.
const MAX_NOTE: usize = 200;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
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
pub(super) struct Range {
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
/// When there is no such range.
pub(super) async fn run(verb: Verb, place: &Place) -> anyhow::Result<()> {
    let archive = place.archive().await?;
    match verb {
        Verb::List => list(&*archive, place.json).await?,
        Verb::Deny(range) => put(&*archive, range, RangeVerdict::Deny).await?,
        Verb::Allow(range) => put(&*archive, range, RangeVerdict::Allow).await?,
        Verb::Drop { range } => {
            ensure!(archive.drop_range(&range).await?, "{range} is not in the list");
            println!("{range} is out of the list");
        }
    }
    Ok(())
}

async fn put(archive: &dyn Archive, range: Range, verdict: RangeVerdict) -> anyhow::Result<()> {
    let Range { range: net, note } = range;
    ensure!(note.chars().count() <= MAX_NOTE, "--note: at most {MAX_NOTE} characters");
    let put = archive.put_range(&AddressRange { net, verdict, note }, MAX_RANGES).await?;
    if !put {
        bail!("there are {MAX_RANGES} ranges already: drop one first");
    }
    println!("{} {net}", verdict.as_str());
    Ok(())
}

async fn list(archive: &dyn Archive, json: bool) -> anyhow::Result<()> {
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
