//! The loop of `chatlab console`: a line at a time from a terminal or a pipe.

use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use chatlab_kit::steps::{Typist, words};

use super::course::Course;
use super::docs::CommandDocs;
use super::editor::{Editor, Keys, Line};
use super::screen::Screen;
use super::told::Teller;
use crate::learner::Store;

/// How long `:check` waits for what was sent to take effect.
const CHECK_PATIENCE: Duration = Duration::from_secs(2);
/// How long a line may wait for what comes without being asked for, where something does.
const ARRIVALS: Duration = Duration::from_millis(300);
/// The most keys that completion offers.
const KEYS_MAX: usize = 500;
/// The longest line.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Where lines come from.
enum Source {
    Terminal(Box<Editor>),
    Pipe,
}

/// What a line asks for next.
enum Then {
    Stay,
    Go(String),
    Quit,
}

/// The console.
pub struct Console {
    course: Course,
    typist: Typist,
    docs: Arc<CommandDocs>,
    keys: Keys,
    source: Source,
    teller: Teller,
    /// Commands were typed in this step since it began or was passed.
    tried: bool,
    subscribed: bool,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The steps that were passed.
    pub passed: Vec<String>,
    /// The step in which commands were typed and which did not pass.
    pub open: Option<String>,
}

impl Console {
    /// A console on an opened course; a terminal gets a line editor.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn new(course: Course, store: &Store) -> anyhow::Result<Self> {
        let screen = Screen::stdout();
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let keys = Keys::default();
        let docs =
            if terminal { CommandDocs::ask(&course.place()?.redis).await? } else { CommandDocs::default() };
        let docs = Arc::new(docs);
        let history = store.folder().join("console-history");
        let source = if terminal {
            Source::Terminal(Box::new(Editor::new(docs.clone(), keys.clone(), &history, screen.styled)))
        } else {
            Source::Pipe
        };
        let teller = Teller::new(screen);
        let typist = typist(&course)?;
        Ok(Self { course, typist, docs, keys, source, teller, tried: false, subscribed: false })
    }

    /// Runs until the end of the input, `:quit`, or the last step.
    ///
    /// # Errors
    /// When the server, the terminal or the progress file fails.
    pub async fn run(mut self) -> anyhow::Result<Ended> {
        self.teller.opening(&self.course)?;
        self.teller.goal(&self.course)?;
        loop {
            let Some(line) = self.read().await? else { break };
            let then = match line.trim() {
                "" => {
                    self.arrivals(Duration::ZERO).await?;
                    Then::Stay
                }
                line if line.starts_with('#') => Then::Stay,
                line if line.starts_with(':') => self.colon(line).await?,
                "quit" | "exit" => Then::Quit,
                line => self.command(line).await?,
            };
            match then {
                Then::Stay => {}
                Then::Go(step) => self.go(&step).await?,
                Then::Quit => break,
            }
        }
        let open = if self.tried { Some(self.course.step()?.id.clone()) } else { None };
        Ok(Ended { passed: self.course.passed, open })
    }

    async fn read(&mut self) -> anyhow::Result<Option<String>> {
        let prompt = self.course.step()?.id.clone();
        self.learn_keys().await;
        match &mut self.source {
            Source::Terminal(editor) => loop {
                // The runtime's other threads go on: proxy and drive live there.
                match tokio::task::block_in_place(|| editor.read(&prompt))? {
                    Line::Typed(line) => return Ok(Some(line)),
                    Line::GivenUp => {}
                    Line::End => return Ok(None),
                }
            },
            Source::Pipe => {
                let line = tokio::task::block_in_place(read_piped)?;
                if let Some(line) = &line {
                    self.teller.say(&format!("{prompt}> {}", line.trim()))?;
                }
                Ok(line)
            }
        }
    }

    /// Keys for completion; the learner's trace does not see the question.
    async fn learn_keys(&self) {
        if matches!(self.source, Source::Pipe) {
            return;
        }
        let Ok(place) = self.course.place() else { return };
        let Ok(nodes) = place.redis.each_node().await else { return };
        let mut found = Vec::new();
        for (_, mut node) in nodes {
            let page: Result<(String, Vec<String>), _> =
                redis::cmd("SCAN").arg(0).arg("COUNT").arg(KEYS_MAX).query_async(&mut node).await;
            found.extend(page.map(|(_, keys)| keys).unwrap_or_default());
        }
        found.sort();
        found.dedup();
        found.truncate(KEYS_MAX);
        *self.keys.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = found;
    }

    /// Types a line into the server, then judges quietly.
    async fn command(&mut self, line: &str) -> anyhow::Result<Then> {
        let typed = self.typist.line(line).await;
        self.tried = true;
        let verbs = words(line).unwrap_or_default();
        let verb = verbs.iter().find(|word| !word.starts_with('@')).map(|word| word.to_ascii_uppercase());
        self.subscribed |= verb.is_some_and(|verb| verb.contains("SUBSCRIBE") || verb == "MONITOR");
        if !typed.text.is_empty() {
            self.teller.say(&typed.text)?;
        }
        let judgement = self.course.judge(Duration::ZERO).await?;
        // Where something comes by itself, it gets a moment before the next line.
        let expects = self.subscribed || !self.course.step()?.drive.is_empty();
        self.arrivals(if expects { ARRIVALS } else { Duration::ZERO }).await?;
        if judgement.passed() || (expects && self.course.judge(Duration::ZERO).await?.passed()) {
            return self.passed().await;
        }
        Ok(Then::Stay)
    }

    async fn arrivals(&mut self, wait: Duration) -> anyhow::Result<()> {
        for (connection, text) in self.typist.arrived(wait).await {
            self.teller.arrived(connection, &text)?;
        }
        Ok(())
    }

    /// Shows and notes the pass, and goes on.
    async fn passed(&mut self) -> anyhow::Result<Then> {
        let costs = self.course.pass()?;
        self.tried = false;
        self.teller.passed(&self.course, costs)?;
        match self.course.following()? {
            Some(step) => Ok(Then::Go(step)),
            None => {
                self.teller.all_done(&self.course)?;
                // On a terminal one may go on playing.
                Ok(if matches!(self.source, Source::Pipe) { Then::Quit } else { Then::Stay })
            }
        }
    }

    async fn go(&mut self, step: &str) -> anyhow::Result<()> {
        self.course.begin(step).await?;
        self.typist = typist(&self.course)?;
        (self.tried, self.subscribed) = (false, false);
        self.teller.goal(&self.course)
    }

    /// A line for the console itself.
    async fn colon(&mut self, line: &str) -> anyhow::Result<Then> {
        let mut parts = line.split_whitespace();
        let (word, rest) = (parts.next().unwrap_or_default(), parts.collect::<Vec<_>>());
        match (word, rest.as_slice()) {
            (":goal", []) => self.teller.goal(&self.course)?,
            (":hint", []) => {
                let hint = self.course.hint().await?;
                self.teller.hint(hint.as_ref())?;
            }
            (":check", []) => {
                let judgement = self.course.judge(CHECK_PATIENCE).await?;
                self.arrivals(Duration::ZERO).await?;
                self.teller.judgement(&judgement)?;
                if judgement.passed() {
                    return self.passed().await;
                }
            }
            (":trace", []) => self.teller.trace(&self.course)?,
            (":steps", []) => self.teller.steps(&self.course)?,
            (":reset", []) => return Ok(Then::Go(self.course.step()?.id.clone())),
            (":next", []) | (":prev", []) => {
                let by = if word == ":next" { 1 } else { -1 };
                match self.course.neighbour(by)? {
                    Some(step) => return Ok(Then::Go(step)),
                    None => self.teller.say("There is no further step that way.")?,
                }
            }
            (":step", [id]) => {
                if self.course.manifest.steps.iter().any(|step| step.id == *id) {
                    return Ok(Then::Go((*id).to_owned()));
                }
                self.teller.steps(&self.course)?;
            }
            (":latency", [ms]) => match ms.parse::<u64>() {
                Ok(ms) if ms <= 10_000 => {
                    self.course.place()?.proxy.set_latency(Duration::from_millis(ms));
                    self.teller.say(&format!("Each round trip now takes {ms} ms longer."))?;
                }
                _ => self.teller.say(":latency MS, from 0 to 10000")?,
            },
            (":solution", []) if !self.course.is_passed()? => {
                self.teller
                    .say("This step is not passed yet. `:solution show` gives it up and shows the answer.")?;
            }
            (":solution", [] | ["show"]) => {
                self.course.surrender()?;
                self.teller.solution(&self.course)?;
            }
            (":help", []) => self.teller.help()?,
            (":help", command) => self.teller.command_help(&self.docs, command)?,
            (":quit", []) => return Ok(Then::Quit),
            _ => self.teller.say("The console does not know that; :help lists what it knows.")?,
        }
        Ok(Then::Stay)
    }
}

fn typist(course: &Course) -> anyhow::Result<Typist> {
    let place = course.place()?;
    Ok(Typist::new(place.topology, place.proxy.addrs()))
}

fn read_piped() -> anyhow::Result<Option<String>> {
    let mut line = String::new();
    std::io::stdout().flush()?;
    let mut input = std::io::Read::take(std::io::stdin().lock(), LINE_BYTES_MAX as u64);
    Ok(if input.read_line(&mut line)? == 0 { None } else { Some(line) })
}
