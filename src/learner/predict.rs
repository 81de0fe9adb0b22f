//! A guess before an experiment, kept, and shown beside the explanation after it.
//!
//! How the `experiment` verb uses it:
//!
//! ```text
//! let guesses = predict::before(&store, lab, "memory", no_predict)?;   // asks on a terminal; else empty
//! …run…
//! predict::after(&store, lab, "memory", &guesses)                      // remembers the run; lines to print
//! ```

use std::io::{self, BufRead, IsTerminal, Write};

use chatlab_kit::lab::{Lab, Manifest, Prediction};

use super::progress::Guess;
use super::{Store, now_ms};

/// How often a number that is no choice is asked for again.
const ASKED_MAX: usize = 5;

/// A question that the learner answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guessed {
    /// The prediction.
    pub prediction: Prediction,
    /// The option, as it reads.
    pub option: String,
}

/// Asks what is to be predicted before `experiment` runs, on a terminal only and not with `skip`, and remembers the answers.
/// What cannot be remembered is said on standard error and stops nothing.
///
/// # Errors
/// When `lab.toml` is broken, or the terminal fails.
pub fn before(store: &Store, lab: &dyn Lab, experiment: &str, skip: bool) -> anyhow::Result<Vec<Guessed>> {
    if skip || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(Vec::new());
    }
    let manifest = lab.manifest().map_err(anyhow::Error::msg)?;
    let guesses = ask(&manifest, experiment, &mut io::stdin().lock(), &mut io::stderr())?;
    if !guesses.is_empty() {
        remember(store, lab.id(), &guesses);
    }
    Ok(guesses)
}

/// Notes that the experiment was run. Gives the lines that show each guess beside the explanation; without a guess of
/// now, an earlier one; without any, only the explanation.
///
/// # Errors
/// When `lab.toml` is broken.
pub fn after(
    store: &Store,
    lab: &dyn Lab,
    experiment: &str,
    guesses: &[Guessed],
) -> anyhow::Result<Vec<String>> {
    let manifest = lab.manifest().map_err(anyhow::Error::msg)?;
    let noted = store.update(|progress| {
        let lab = progress.lab_mut(lab.id());
        lab.ran(experiment);
        lab.predictions.clone()
    });
    let earlier = noted.unwrap_or_else(|error| {
        eprintln!("chatlab: {error}");
        Default::default()
    });
    let mut lines = Vec::new();
    for prediction in manifest.predictions.iter().filter(|p| p.experiment == experiment) {
        let now = guesses.iter().find(|g| g.prediction.id == prediction.id).map(|g| ("You said", &g.option));
        let before = earlier.get(&prediction.id).map(|guess| ("You once said", &guess.option));
        lines.push(prediction.question.trim().to_owned());
        if let Some((said, option)) = now.or(before) {
            lines.push(format!("{said}: {option}."));
        }
        lines.push(prediction.why.trim().to_owned());
    }
    Ok(lines)
}

fn remember(store: &Store, lab: &str, guesses: &[Guessed]) {
    let noted = store.update(|progress| {
        for guess in guesses {
            let kept = Guess { option: guess.option.clone(), at_ms: now_ms() };
            progress.lab_mut(lab).predictions.insert(guess.prediction.id.clone(), kept);
        }
    });
    if let Err(error) = noted {
        eprintln!("chatlab: {error}");
    }
}

/// Asks for a number a question. An empty line skips a question, the end of the input all of them.
///
/// # Errors
/// Those of reading and writing.
pub fn ask(
    manifest: &Manifest,
    experiment: &str,
    input: &mut impl BufRead,
    screen: &mut impl Write,
) -> io::Result<Vec<Guessed>> {
    let mut guesses = Vec::new();
    for prediction in manifest.predictions.iter().filter(|p| p.experiment == experiment) {
        writeln!(screen, "Predict first: {}\n", prediction.question.trim())?;
        for (i, option) in prediction.options.iter().enumerate() {
            writeln!(screen, "  {}  {option}", i + 1)?;
        }
        for _ in 0..ASKED_MAX {
            write!(screen, "\nyour guess [1-{}, Enter skips]: ", prediction.options.len())?;
            screen.flush()?;
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 {
                return Ok(guesses);
            }
            let line = line.trim();
            if line.is_empty() {
                break;
            }
            let number = line.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
            if let Some(option) = number.and_then(|n| prediction.options.get(n)) {
                guesses.push(Guessed { prediction: prediction.clone(), option: option.clone() });
                break;
            }
        }
        writeln!(screen)?;
    }
    Ok(guesses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let question = |id: &str| {
            format!(
                "[[predictions]]\nid = '{id}'\nexperiment = 'memory'\nquestion = 'Which?'\n\
                 options = ['first', 'second']\nwhy = 'Because.'\n"
            )
        };
        let text = format!("id = 'x'\ntitle = 'X'\nsteps = []\n{}{}", question("a"), question("b"));
        Manifest::parse(&text).unwrap()
    }

    fn answered(typed: &str) -> Vec<(String, String)> {
        let guesses = ask(&manifest(), "memory", &mut typed.as_bytes(), &mut Vec::new()).unwrap();
        guesses.into_iter().map(|g| (g.prediction.id, g.option)).collect()
    }

    #[test]
    fn a_number_answers_enter_skips_and_nonsense_is_asked_again() {
        let pair = |id: &str, option: &str| (id.to_owned(), option.to_owned());
        assert_eq!(answered("2\n1\n"), [pair("a", "second"), pair("b", "first")]);
        assert_eq!(answered("\n2\n"), [pair("b", "second")]);
        assert_eq!(answered("x\n0\n3\n1\n"), [pair("a", "first")]);
        assert_eq!(answered(""), []);
        let none = ask(&manifest(), "other", &mut "1\n".as_bytes(), &mut Vec::new()).unwrap();
        assert_eq!(none, []);
    }

    #[test]
    fn a_guess_is_kept_and_shown_beside_the_explanation() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::in_folder(folder.path(), |_| ());
        let lab = crate::labs::named("sessions").unwrap();
        let manifest = lab.manifest().unwrap();
        let guesses = ask(&manifest, "memory", &mut "3\n".as_bytes(), &mut Vec::new()).unwrap();
        remember(&store, "sessions", &guesses);
        let again = after(&store, lab, "memory", &[]).unwrap().join("\n");
        assert!(again.contains("You once said: ") && again.contains(&guesses[0].option), "{again}");
        let first = after(&store, lab, "memory", &guesses).unwrap().join("\n");
        assert!(first.contains("You said: "), "{first}");
        assert!(store.load().unwrap().lab("sessions").experiments.contains_key("memory"));
    }
}
