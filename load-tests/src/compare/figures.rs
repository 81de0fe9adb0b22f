//! What is read off runs to be compared.

use serde::{Deserialize, Serialize};

use crate::{
    recorder::Summary,
    result::{RunResult, Usage},
};

/// What is asked of a comparison. One question, chosen before anything is measured, takes fewer runs than all of them: its figures
/// share the chance of a false answer among fewer, and need not wait for the noisiest one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Every figure; the answer rests on median latency and on CPU.
    #[default]
    All,
    /// CPU of the server, or of Redis where there is no server.
    Cpu,
    /// Median latency, of every operation where there are several.
    Latency,
    /// The 99th percentile of the same.
    Tail,
}

impl std::str::FromStr for Question {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            "cpu" => Ok(Self::Cpu),
            "latency" => Ok(Self::Latency),
            "tail" => Ok(Self::Tail),
            _ => Err("it must be all, cpu, latency or tail".to_owned()),
        }
    }
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::All => "all",
            Self::Cpu => "cpu",
            Self::Latency => "latency",
            Self::Tail => "tail",
        })
    }
}

/// What a question is about, of runs like this one. All of it is primary where one thing is asked.
pub(crate) fn asked(question: Question, like: &RunResult) -> Vec<Reading> {
    let server = if like.resources.server.is_some() { "server CPU" } else { "Redis CPU" };
    let all = readings(like);
    let tail_of = |name: &str| name.split_once(" p50").map(|(of, unit)| format!("{of} p99{unit}"));
    let tails: Vec<_> = all.iter().filter(|r| r.primary).filter_map(|r| tail_of(&r.name)).collect();
    let is_asked = |reading: &Reading| match question {
        Question::All => true,
        Question::Cpu => reading.name.starts_with(server),
        Question::Latency => reading.primary && reading.name.contains(" p50"),
        Question::Tail => tails.contains(&reading.name),
    };
    let all = all.into_iter().filter(is_asked);
    all.map(|reading| Reading { primary: reading.primary || question != Question::All, ..reading }).collect()
}

/// Reads one figure off a run.
type Read = Box<dyn Fn(&RunResult) -> Option<f64>>;

/// One figure and how it is read.
pub(crate) struct Reading {
    /// What is measured, with its unit.
    pub name: String,
    /// Whether the comparison's one answer rests on it; see [`super::judge`].
    pub primary: bool,
    /// Whether it goes along with the machine's pace, as [`pace`] tells it.
    pub paced: bool,
    /// None when a run does not have it, or samples do not support it.
    pub read: Read,
}

/// What tells how fast the machine was in a run of a chat: what each delivery cost the generator.
pub(crate) fn pace(run: &RunResult) -> Option<f64> {
    run.resources.generator?.us_per_delivery
}

/// What can be read off runs like this one.
pub(crate) fn readings(like: &RunResult) -> Vec<Reading> {
    let mut all = if like.config.is_operations() { of_lab(like) } else { of_chat() };
    all.extend([
        other("Redis CPU, % of a core", Box::new(|r| Some(r.resources.redis?.cores * 100.0))),
        other("Redis private memory, MiB", private(|r| r.resources.redis)),
        other("generator CPU, % of a core", Box::new(|r| Some(r.resources.generator?.cores * 100.0))),
    ]);
    all
}

fn of_lab(like: &RunResult) -> Vec<Reading> {
    let mut all = vec![other("operations/s", Box::new(|r| Some(r.delivered_per_s)))];
    for (at, operation) in like.operations.iter().enumerate() {
        for (percentile, pick) in PERCENTILES {
            let name = format!("{} {percentile}, ms", operation.name);
            let read: Read = Box::new(move |r| pick(&r.operations.get(at)?.response));
            all.push(Reading { name, primary: percentile == "p50", paced: false, read });
        }
    }
    all
}

fn of_chat() -> Vec<Reading> {
    let mut all = vec![
        other("messages/s", Box::new(|r| Some(r.acked_per_s))),
        other("deliveries/s", Box::new(|r| Some(r.delivered_per_s))),
    ];
    for (percentile, pick) in PERCENTILES {
        let read: Read = Box::new(move |r| pick(&r.latency.ack));
        all.push(Reading { paced: true, ..other(&format!("ack {percentile}, ms"), read) });
    }
    for (percentile, pick) in PERCENTILES {
        let read: Read = Box::new(move |r| pick(&r.latency.delivery));
        let name = format!("delivery {percentile}, ms");
        all.push(Reading { name, primary: percentile == "p50", paced: true, read });
    }
    for (percentile, pick) in PERCENTILES {
        all.push(other(&format!("reopen {percentile}, ms"), Box::new(move |r| pick(&r.latency.reopen))));
    }
    let cost = Box::new(|r: &RunResult| r.resources.server?.us_per_delivery);
    all.push(Reading { name: "server CPU, µs a delivery".into(), primary: true, paced: true, read: cost });
    all.push(other("server private memory, MiB", private(|r| r.resources.server)));
    all
}

fn other(name: &str, read: Read) -> Reading {
    Reading { name: name.to_owned(), primary: false, paced: false, read }
}

type Pick = fn(&Summary) -> Option<f64>;

const PERCENTILES: [(&str, Pick); 2] =
    [("p50", |s| Some(s.p50_us? as f64 / 1000.0)), ("p99", |s| Some(s.p99_us? as f64 / 1000.0))];

/// Not all that is resident: two copies of one program differ by how the kernel happens to keep their files.
fn private(who: fn(&RunResult) -> Option<Usage>) -> Read {
    Box::new(move |r| Some(who(r)?.private_bytes? as f64 / (1024.0 * 1024.0)))
}

/// Three digits that mean something.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_question_is_about_its_own_figures_only() {
        let run = crate::testing::run(1.0);
        let names = |question| asked(question, &run).into_iter().map(|r| r.name).collect::<Vec<_>>();
        assert_eq!(names(Question::Cpu), ["server CPU, µs a delivery"]);
        assert_eq!(names(Question::Latency), ["delivery p50, ms"]);
        assert_eq!(names(Question::Tail), ["delivery p99, ms"]);
        assert_eq!(names(Question::All).len(), readings(&run).len());
        for question in [Question::Cpu, Question::Latency, Question::Tail] {
            assert!(asked(question, &run).iter().all(|reading| reading.primary));
            assert_eq!(question.to_string().parse(), Ok(question));
        }
    }

    #[test]
    fn numbers_keep_three_digits() {
        assert_eq!([0.056, 9.87, 12.34, 1234.5].map(number), ["0.06", "9.87", "12.3", "1234"]);
    }
}
