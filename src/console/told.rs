//! What the console and the proxy say.

use std::io::Write;

use chatlab_kit::budget::is_redirect;
use chatlab_kit::steps::{Judgement, instance};

use super::course::{Costs, Course, StepHint};
use super::docs::CommandDocs;
use super::screen::{Screen, wrap};
use crate::learner::compare::{counted, cut};

/// The most commands of a trace that are shown; of more the last ones.
const TRACE_SHOWN: usize = 40;

const HELP: &str = "\
Type Redis commands as in redis-cli; `@2 GET k` types into a second connection.
  :goal            the goal again
  :check           what is met and what is not
  :hint            a hint; the next one says more
  :trace           the commands of this step: round trips, bytes, redirects
  :reset           this step afresh
  :next  :prev     the neighbouring step
  :steps  :step ID all steps; another one
  :latency MS      each round trip takes so much longer
  :solution        the step's solution, once it is passed
  :help COMMAND    what the server says about a command
  :quit            the end (also Ctrl-D); progress is kept";

/// Writes to standard output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Teller {
    pub(super) screen: Screen,
}

impl Teller {
    pub(super) fn new(screen: Screen) -> Self {
        Self { screen }
    }

    pub(super) fn say(&self, text: &str) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()?;
        Ok(())
    }

    pub(super) fn opening(&self, course: &Course) -> anyhow::Result<()> {
        let id = course.lab.id();
        let flag =
            self.screen.dim(&format!("seed {} (--seed gives the same names and numbers again)", course.seed));
        self.say(&format!("{}\n{flag}", self.screen.bold(&format!("{id}: {}", course.lab.title()))))
    }

    pub(super) fn goal(&self, course: &Course) -> anyhow::Result<()> {
        self.goal_outside(course)?;
        self.say(&self.screen.dim("  :hint  :check  :trace  :help"))
    }

    /// The goal, without the words that only the console knows.
    pub(super) fn goal_outside(&self, course: &Course) -> anyhow::Result<()> {
        let step = course.step()?;
        let of = course.manifest.steps.len();
        let place = course.place()?.topology;
        let head = format!("Step {} of {of}: {}", course.number()?, step.id);
        self.say(&format!("\n{} {}", self.screen.bold(&head), self.screen.dim(&format!("(on {place})"))))?;
        self.say(&self.screen.block("  ", &step.goal))
    }

    pub(super) fn arrived(&self, connection: usize, text: &str) -> anyhow::Result<()> {
        let mark = if connection == 1 { String::new() } else { format!("@{connection} ") };
        self.say(&format!("{}{text}", self.screen.dim(&mark)))
    }

    pub(super) fn judgement(&self, judgement: &Judgement) -> anyhow::Result<()> {
        for met in &judgement.met {
            self.say(&self.met(met))?;
        }
        for unmet in &judgement.unmet {
            self.say(&self.unmet(unmet))?;
        }
        if let Some(waiting) = &judgement.waiting {
            self.say(&self.screen.block("  waits    ", waiting))?;
        }
        Ok(())
    }

    pub(super) fn met(&self, sentence: &str) -> String {
        self.screen.block("  met      ", sentence).replacen("met", &self.screen.good("met"), 1)
    }

    pub(super) fn unmet(&self, sentence: &str) -> String {
        self.screen.block("  not yet  ", sentence).replacen("not yet", &self.screen.bad("not yet"), 1)
    }

    pub(super) fn passed(&self, course: &Course, costs: Costs) -> anyhow::Result<()> {
        let step = course.step()?;
        self.say(&format!("{} {}", self.screen.good("Passed:"), self.screen.bold(&step.id)))?;
        if !step.learnt.trim().is_empty() {
            self.say(&self.screen.block("  ", &step.learnt))?;
        }
        self.say(&self.screen.block("  ", &costs_sentence(costs)))
    }

    pub(super) fn all_done(&self, course: &Course) -> anyhow::Result<()> {
        let id = course.lab.id();
        self.say(&format!(
            "\nAll {} steps of `{id}` are passed. Now the exercise: chatlab watch {id}",
            course.manifest.steps.len()
        ))
    }

    pub(super) fn hint(&self, hint: Option<&StepHint>) -> anyhow::Result<()> {
        match hint {
            Some(StepHint::Mistake(text)) => self.say(&self.screen.block("  hint: ", text)),
            Some(StepHint::Layer(layer)) => {
                let label = format!("  hint {} of {}: ", layer.number, layer.of);
                self.say(&self.screen.block(&label, &layer.text))
            }
            None => self.say("  There is no hint."),
        }
    }

    pub(super) fn trace(&self, course: &Course) -> anyhow::Result<()> {
        let entries = course.commands()?;
        let hidden = entries.len().saturating_sub(TRACE_SHOWN);
        if hidden > 0 {
            self.say(&format!("  ({hidden} earlier commands)"))?;
        }
        let (mut sent, mut received, mut redirects, mut pushes) = (0, 0, 0, 0);
        for entry in &entries {
            (sent, received) = (sent + entry.bytes_out, received + entry.bytes_in);
            redirects += u64::from(is_redirect(entry));
            pushes += u64::from(entry.push);
        }
        for entry in &entries[hidden..] {
            let trip = if entry.push { "-".to_owned() } else { (entry.round_trip + 1).to_string() };
            let line = format!("  {trip:>3} {}> {}  → {}", entry.conn, entry.command.join(" "), entry.reply);
            self.say(&cut(&line, self.screen.columns))?;
        }
        let costs = course.costs()?;
        let mut sum = format!(
            "  {} in {}; {sent} bytes sent, {received} received",
            counted(costs.commands, "command"),
            counted(costs.round_trips, "round trip")
        );
        for (count, what) in [(redirects, "redirect"), (pushes, "message")] {
            if count > 0 {
                sum.push_str(&format!("; {}", counted(count, what)));
            }
        }
        self.say(&sum)
    }

    pub(super) fn steps(&self, course: &Course) -> anyhow::Result<()> {
        let here = course.number()?;
        for (i, step) in course.manifest.steps.iter().enumerate() {
            let mark = if i + 1 == here { ">" } else { " " };
            let drawn = instance(&course.manifest, &step.id, course.seed);
            let goal = drawn.map_or_else(String::new, |step| wrap(&step.goal, usize::MAX).concat());
            self.say(&cut(&format!("{mark} {:<26} {goal}", step.id), self.screen.columns))?;
        }
        Ok(())
    }

    pub(super) fn solution(&self, course: &Course) -> anyhow::Result<()> {
        self.say("  One way to do it:")?;
        for line in &course.step()?.solution {
            self.say(&format!("    {line}"))?;
        }
        self.say(&self.screen.block("  ", &costs_sentence(course.costs()?)))
    }

    pub(super) fn help(&self) -> anyhow::Result<()> {
        self.say(HELP)
    }

    pub(super) fn command_help(&self, docs: &CommandDocs, words: &[&str]) -> anyhow::Result<()> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let Some((name, doc, _)) = docs.find(&words) else {
            return self.say("  The server says nothing about that command.");
        };
        self.say(&self.screen.block("  ", &format!("{name} {}", doc.syntax())))?;
        for (label, text) in [("", &doc.summary), ("cost: ", &doc.complexity), ("since: ", &doc.since)] {
            if !text.is_empty() {
                self.say(&self.screen.block(&format!("  {label}"), text))?;
            }
        }
        Ok(())
    }
}

/// The learner's costs beside the solution's.
pub(super) fn costs_sentence(costs: Costs) -> String {
    let side =
        |commands, trips| format!("{} in {}", counted(commands, "command"), counted(trips, "round trip"));
    format!(
        "You: {}. The step's own solution: {}.",
        side(costs.commands, costs.round_trips),
        side(costs.solution_commands, costs.solution_round_trips)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_told_in_one_sentence() {
        let costs = Costs { commands: 1, round_trips: 1, solution_commands: 2, solution_round_trips: 2 };
        assert_eq!(
            costs_sentence(costs),
            "You: 1 command in 1 round trip. The step's own solution: 2 commands in 2 round trips."
        );
    }
}
