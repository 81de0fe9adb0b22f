//! `chatlab keys`: the list of keys that messages are encrypted with.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail, ensure};

use crate::service::{
    now_ms,
    vault::{self, Vault},
};

/// Make and rotate the keys that messages are encrypted with (`serve --message-keys FILE`)
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The first key of the list encrypts; all of them decrypt. To rotate, while the chat goes on:
  chatlab keys add FILE           a new key, at the end of the list
  … start every server process again: all can read what the new key will encrypt
  chatlab keys use FILE NAME      it is the first one now
  … start every server process again
A key that is taken out of the list takes what it encrypted with it.")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Add a new key at the end of a list; of a new list it is the first one
    Add {
        /// The list; made when it is not there, for its owner's eyes only
        file: PathBuf,
        /// What the key is called: 1 to 32 of a-z 0-9 - [default: the time]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Encrypt with this key from the next start on
    Use {
        /// The list
        file: PathBuf,
        /// The key's name
        name: String,
    },
    /// The names of the keys, the one that encrypts first
    List {
        /// The list
        file: PathBuf,
    },
}

/// Does what was asked with a list.
///
/// # Errors
/// When there is no such list or key, or the file can't be read or written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Add { file, name } => {
            let name = name.unwrap_or_else(|| format!("k{}", now_ms()));
            ensure!(vault::is_name(&name), "--name: 1 to 32 of a-z 0-9 -");
            let mut lines = if file.exists() { read(&file)? } else { Vec::new() };
            lines.push(vault::new_key(&name).trim_end().to_owned());
            write(&file, &lines)?;
            println!("{name} is in {}", file.display());
        }
        Verb::Use { file, name } => {
            let mut lines = read(&file)?;
            let Some(at) = lines.iter().position(|line| name_of(line) == Some(&name)) else {
                bail!("{}: there is no key {name}; `chatlab keys list` has the names", file.display());
            };
            let line = lines.remove(at);
            let first = lines.iter().position(|line| name_of(line).is_some()).unwrap_or(lines.len());
            lines.insert(first.min(at), line);
            write(&file, &lines)?;
            println!("{name} encrypts from the next start on");
        }
        Verb::List { file } => {
            for (nth, name) in read(&file)?.iter().filter_map(|line| name_of(line)).enumerate() {
                println!("{name}{}", if nth == 0 { "  encrypts" } else { "" });
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The name of the key in a line; none in a line without one.
fn name_of(line: &str) -> Option<&str> {
    line.split('#').next()?.split_whitespace().next()
}

/// The lines of a list that is one.
fn read(file: &Path) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    Vault::parse(&text).with_context(|| file.display().to_string())?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Writes a list whole under another name first: nobody ever reads half a key.
fn write(file: &Path, lines: &[String]) -> anyhow::Result<()> {
    let text = lines.join("\n") + "\n";
    Vault::parse(&text).with_context(|| file.display().to_string())?;
    let draft = file.with_extension(format!("{}.draft", std::process::id()));
    let written = (|| {
        let mut out: File = File::options().write(true).create_new(true).mode(0o600).open(&draft)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&draft, file)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written.with_context(|| format!("writing {}", file.display()))
}
