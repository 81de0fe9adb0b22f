//! The loop of `chatlab proxy`: the learner's own redis-cli or program goes through the proxy, and what it does is judged whenever
//! it falls quiet.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chatlab_kit::steps::Judgement;
use tokio::sync::mpsc;

use super::course::Course;
use super::screen::Screen;
use super::told::Teller;

/// Between two looks at the trace.
const LOOK: Duration = Duration::from_millis(100);
/// After so long without a command it is quiet.
const QUIET: Duration = Duration::from_millis(300);
/// While it stays quiet it is judged again so often: things expire and arrive by themselves.
const AGAIN: Duration = Duration::from_secs(1);

/// Typed lines that wait.
const LINES: usize = 64;

const HELP: &str = "\
Enter or `check`  what is met and what is not      trace     the commands
hint              a hint; the next one says more   goal      the goal again
reset             this step afresh                 next      the next step
solution show     gives up, shows the answer       quit      the end (or Ctrl-C)";

/// What to do when a step is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterPass {
    /// Go on to the next step.
    GoOn,
    /// End.
    End,
}

/// The loop's state in one step.
struct Watch {
    seen: u64,
    changed: Instant,
    judged: Instant,
    said: BTreeSet<String>,
}

impl Watch {
    fn new() -> Self {
        let now = Instant::now();
        Self { seen: 0, changed: now, judged: now, said: BTreeSet::new() }
    }

    /// Whether it is time to judge, given how many round trips there were by now.
    fn is_due(&mut self, round_trips: u64) -> bool {
        if round_trips != self.seen {
            (self.seen, self.changed) = (round_trips, Instant::now());
            return false;
        }
        let quiet = self.seen > 0 && self.changed.elapsed() >= QUIET;
        quiet && (self.judged < self.changed || self.judged.elapsed() >= AGAIN)
    }
}

/// Runs until the last step is passed, `quit`, or Ctrl-C. Whether the last step that was tried is passed.
///
/// # Errors
/// When the server or the progress file fails.
pub async fn run(mut course: Course, after: AfterPass) -> anyhow::Result<bool> {
    let teller = Teller::new(Screen::stdout());
    teller.opening(&course)?;
    introduce(&teller, &course)?;
    let mut lines = typed_lines();
    let mut watch = Watch::new();
    let mut tick = tokio::time::interval(LOOK);
    loop {
        let judgement = tokio::select! {
            line = next_line(&mut lines) => match obey(&teller, &mut course, &line).await? {
                Order::Judge => {
                    let judgement = course.judge(Duration::ZERO).await?;
                    teller.judgement(&judgement)?;
                    watch.said.extend(sentences(&judgement));
                    judgement
                }
                Order::Nothing => continue,
                Order::Begin(step) => {
                    begin(&teller, &mut course, &step).await?;
                    watch = Watch::new();
                    continue;
                }
                Order::Quit => return Ok(ended(&course, watch.seen)),
            },
            _ = tick.tick() => {
                if !watch.is_due(course.place()?.proxy.trace().round_trips()) {
                    continue;
                }
                watch.judged = Instant::now();
                let judgement = course.judge(Duration::ZERO).await?;
                say_news(&teller, &judgement, &mut watch.said)?;
                judgement
            }
            _ = tokio::signal::ctrl_c() => return Ok(ended(&course, watch.seen)),
        };
        if judgement.passed() {
            let costs = course.pass()?;
            teller.passed(&course, costs)?;
            match course.following()? {
                Some(step) if after == AfterPass::GoOn => begin(&teller, &mut course, &step).await?,
                Some(_) => return Ok(true),
                None => {
                    teller.all_done(&course)?;
                    return Ok(true);
                }
            }
            watch = Watch::new();
        }
    }
}

fn ended(course: &Course, tried: u64) -> bool {
    tried == 0 && !course.passed.is_empty()
}

fn introduce(teller: &Teller, course: &Course) -> anyhow::Result<()> {
    teller.goal_outside(course)?;
    let place = course.place()?;
    let addrs = place.proxy.addrs();
    teller.say(&format!("\nConnect your client or program to: {}", addrs.join(" ")))?;
    if let Some((host, port)) = addrs.first().and_then(|addr| addr.rsplit_once(':')) {
        let cluster = if course.step()?.cluster { " -c" } else { "" };
        teller.say(&teller.screen.dim(&format!("  such as: redis-cli{cluster} -h {host} -p {port}")))?;
    }
    teller.say(
        &teller.screen.dim("  It is judged whenever it falls quiet. Here: check, hint, trace, help, quit."),
    )
}

async fn begin(teller: &Teller, course: &mut Course, step: &str) -> anyhow::Result<()> {
    course.begin(step).await?;
    introduce(teller, course)
}

/// The lines of standard input, read on a thread that the end of the process does not wait for.
fn typed_lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(LINES);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The next line that was typed; waits for ever after the end of the input, which is no wish to end.
async fn next_line(lines: &mut mpsc::Receiver<String>) -> String {
    match lines.recv().await {
        Some(line) => line,
        None => std::future::pending().await,
    }
}

/// What a typed line wants.
enum Order {
    Judge,
    Nothing,
    Begin(String),
    Quit,
}

async fn obey(teller: &Teller, course: &mut Course, line: &str) -> anyhow::Result<Order> {
    match line.trim().trim_start_matches(':') {
        "" | "check" => return Ok(Order::Judge),
        "hint" => {
            let hint = course.hint().await?;
            teller.hint(hint.as_ref())?;
        }
        "trace" => teller.trace(course)?,
        "goal" => introduce(teller, course)?,
        "reset" => return Ok(Order::Begin(course.step()?.id.clone())),
        "next" => match course.neighbour(1)? {
            Some(step) => return Ok(Order::Begin(step)),
            None => teller.say("There is no further step.")?,
        },
        "solution show" => {
            course.surrender()?;
            teller.solution(course)?;
        }
        "quit" | "exit" => return Ok(Order::Quit),
        _ => teller.say(HELP)?,
    }
    Ok(Order::Nothing)
}

fn sentences(judgement: &Judgement) -> Vec<String> {
    let met = judgement.met.iter().map(|met| format!("+{met}"));
    met.chain(judgement.unmet.iter().map(|unmet| format!("-{unmet}"))).collect()
}

/// Says what was not said before in this step: what is met and unmet now, and the hint for a mistake.
fn say_news(teller: &Teller, judgement: &Judgement, said: &mut BTreeSet<String>) -> anyhow::Result<()> {
    let now = sentences(judgement);
    // What changed back must be said again.
    said.retain(|old| now.contains(old) || old.starts_with('!'));
    for met in judgement.met.iter().filter(|met| said.insert(format!("+{met}"))).collect::<Vec<_>>() {
        teller.say(&teller.met(met))?;
    }
    for unmet in judgement.unmet.iter().filter(|unmet| said.insert(format!("-{unmet}"))).collect::<Vec<_>>() {
        teller.say(&teller.unmet(unmet))?;
    }
    if let Some(mistake) = &judgement.mistake
        && said.insert(format!("!{mistake}"))
    {
        teller.say(&teller.screen.block("  hint: ", mistake))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_judged_when_it_falls_quiet_and_not_before_anything_was_sent() {
        let mut watch = Watch::new();
        assert!(!watch.is_due(0), "nothing was sent");
        assert!(!watch.is_due(3), "just now");
        watch.changed = Instant::now() - QUIET;
        watch.judged = watch.changed - QUIET;
        assert!(watch.is_due(3));
        watch.judged = Instant::now();
        assert!(!watch.is_due(3), "judged already");
        watch.judged = Instant::now() - AGAIN;
        watch.changed = watch.judged - QUIET;
        assert!(watch.is_due(3), "things expire by themselves");
    }
}
