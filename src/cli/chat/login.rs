//! Who one is: the name and the password, and the token that the server gives for them.

use std::{
    fs::File,
    io::{BufRead, BufReader, IsTerminal, Write},
    path::Path,
};

use anyhow::{Context, bail};
use chatlab_load::http::{HttpClient, HttpError, Response};
use hyper::Method;
use serde::Deserialize;
use serde_json::json;
use termimad::crossterm::{
    event::{Event, KeyCode, KeyEventKind, KeyModifiers, read},
    terminal::{disable_raw_mode, enable_raw_mode},
};

use super::{Args, show::clean};

/// The setting that has the password.
pub const PASSWORD_SETTING: &str = "CHATLAB_PASSWORD";
/// What the log-in is called in the list of one's sessions.
const DEVICE: &str = "chatlab chat";
/// The longest password that is read, in bytes; the server's own bound is lower.
const PASSWORD_BYTES_MAX: u64 = 1_024;

/// How to get in, and again when a token's time is over.
pub struct Access {
    url: String,
    name: String,
    password: String,
    register: bool,
}

/// The answer to a log-in.
#[derive(Deserialize)]
struct LoggedIn {
    token: String,
}

/// What a refusal over HTTP says.
#[derive(Deserialize, Default)]
struct Problem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    detail: String,
}

impl Access {
    /// From the arguments and the environment, and from who sits at the terminal.
    ///
    /// # Errors
    /// When the URL is none, or name or password are missing and there is nobody to ask.
    pub(super) fn of(args: &Args) -> anyhow::Result<Self> {
        let url = base(&args.url)?;
        let name = match &args.name {
            Some(name) => name.clone(),
            None => ask_name()?,
        };
        let password = password(args.password_file.as_deref(), &name)?;
        Ok(Self { url, name, password, register: args.register })
    }

    /// Where the server is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its WebSocket.
    pub fn ws_url(&self) -> String {
        format!("ws{}/ws", self.url.strip_prefix("http").unwrap_or(&self.url))
    }

    /// What one is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Logs in; the first time it makes the account, if that was asked for.
    ///
    /// # Errors
    /// When the server is out of reach or refuses.
    pub async fn log_in(&mut self) -> anyhow::Result<String> {
        let path = if self.register { "/v1/register" } else { "/v1/login" };
        let body = json!({ "name": self.name, "password": self.password, "device": DEVICE });
        let body = serde_json::to_vec(&body).context("the log-in as JSON")?;
        let answer = HttpClient::new(&self.url).request(Method::POST, path, None, Some(body)).await;
        let answer = answer.map_err(|error| unreachable(&self.url, &error))?;
        if !(200..300).contains(&answer.status) {
            return Err(self.refused(&answer));
        }
        let answer: LoggedIn = serde_json::from_slice(&answer.body)
            .with_context(|| format!("{} does not answer as a chat server does: is it one?", self.url))?;
        self.register = false;
        Ok(answer.token)
    }

    fn refused(&self, answer: &Response) -> anyhow::Error {
        let problem: Problem = serde_json::from_slice(&answer.body).unwrap_or_default();
        let (name, url, detail) = (clean(&self.name), &self.url, clean(&problem.detail));
        match problem.code.as_str() {
            "unauthorized" => anyhow::anyhow!(
                "{url} does not know {name} with that password: try again, or make the account with --register"
            ),
            "conflict" => {
                anyhow::anyhow!(
                    "{url} has a user {name} already: leave out --register, or take another --name"
                )
            }
            "rate_limited" => {
                let seconds = answer.header("retry-after").unwrap_or("a few").to_owned();
                anyhow::anyhow!("{url} had too many log-ins: try again in {} s", clean(&seconds))
            }
            "" => anyhow::anyhow!("{url} answered {}: is it a chat server?", answer.status),
            code => anyhow::anyhow!("{url} refused the log-in of {name} ({}): {detail}", clean(code)),
        }
    }
}

/// An error that says what to do about a server that does not answer.
fn unreachable(url: &str, error: &HttpError) -> anyhow::Error {
    let why = match error {
        // What the library says of it says nothing.
        HttpError::Transport { .. } => String::new(),
        other => format!(" ({})", clean(&other.to_string())),
    };
    anyhow::anyhow!(
        "no server answers at {url}{why}: start one with `chatlab serve`, or name another with --url"
    )
}

/// The URL without a slash at its end; `http://` may be left out.
fn base(url: &str) -> anyhow::Result<String> {
    let url = match url.trim().split_once("://") {
        None => format!("http://{}", url.trim().trim_end_matches('/')),
        Some(("http", rest)) => format!("http://{}", rest.trim_end_matches('/')),
        Some((scheme, _)) => bail!(
            "--url {}: {} is not spoken here: name http://HOST:PORT, a server without TLS or the inside of its proxy",
            clean(url),
            clean(scheme)
        ),
    };
    let valid = url.parse::<hyper::Uri>().is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    anyhow::ensure!(valid, "--url {}: that is no URL: name http://HOST:PORT", clean(&url));
    Ok(url)
}

fn at_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn ask_name() -> anyhow::Result<String> {
    anyhow::ensure!(at_terminal(), "who are you? Say so with --name NAME");
    eprint!("Name: ");
    std::io::stderr().flush()?;
    let name = first_line(std::io::stdin().lock())?;
    anyhow::ensure!(!name.is_empty(), "who are you? Say so with --name NAME");
    Ok(name)
}

fn password(file: Option<&Path>, name: &str) -> anyhow::Result<String> {
    let password = match (file, std::env::var(PASSWORD_SETTING)) {
        (Some(path), _) => {
            let reading = || format!("reading the password from {}", path.display());
            first_line(BufReader::new(File::open(path).with_context(reading)?)).with_context(reading)?
        }
        (None, Ok(password)) => password,
        (None, Err(_)) if at_terminal() => ask_password(name)?,
        (None, Err(_)) => {
            bail!("no password for {}: give --password-file FILE or {PASSWORD_SETTING}", clean(name))
        }
    };
    anyhow::ensure!(!password.is_empty(), "the password is empty");
    Ok(password)
}

fn first_line(from: impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    from.take(PASSWORD_BYTES_MAX).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal that does not echo, until it is dropped.
struct Raw;

impl Raw {
    fn new() -> std::io::Result<Self> {
        enable_raw_mode()?;
        Ok(Self)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = disable_raw_mode();
        eprintln!();
    }
}

fn ask_password(name: &str) -> anyhow::Result<String> {
    eprint!("Password of {}: ", clean(name));
    std::io::stderr().flush()?;
    let _raw = Raw::new().context("the terminal, for a password")?;
    let mut password = String::new();
    loop {
        let Event::Key(key) = read().context("the terminal, for a password")? else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match key.code {
            KeyCode::Enter => return Ok(password),
            KeyCode::Backspace => {
                password.pop();
            }
            KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                bail!("no password was given")
            }
            KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => password.clear(),
            KeyCode::Char(letter) if password.len() < PASSWORD_BYTES_MAX as usize => password.push(letter),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_with_and_without_its_scheme() {
        assert_eq!(base("127.0.0.1:8080").unwrap(), "http://127.0.0.1:8080");
        assert_eq!(base("http://[::1]:8080/").unwrap(), "http://[::1]:8080");
        for wrong in ["https://example.org", "http://", "", "http://a b"] {
            assert!(base(wrong).unwrap_err().to_string().contains("--url"), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_the_first_line() {
        assert_eq!(first_line("secret \r\nmore".as_bytes()).unwrap(), "secret ");
        assert_eq!(first_line("".as_bytes()).unwrap(), "");
    }
}
