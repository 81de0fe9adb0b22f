//! A session of the bare loop (A) and the chat server (B) for a terminal.

use std::fmt::Write;

use super::{
    quick::Which,
    session::{Compared, Turn},
    show::broken_rules,
};
use crate::{
    report::clip,
    result::{RunResult, Usage},
};

/// For people, at most [`crate::report::WIDTH`] columns: what a delivery costs over what a write costs, and every run.
pub fn floor(compared: &Compared) -> String {
    let mut out = String::new();
    // Writing to a String can't fail.
    let _ = writeln!(out, "Floor    {}\n         {}\n", compared.b, compared.a);
    let chat = compared.turns.iter().find(|turn| turn.which == Which::B);
    if let Some(Turn { result, .. }) = chat {
        let config = &result.config;
        let _ = writeln!(
            out,
            "{}: {} connections, {} rooms, {} messages/s, {} s each",
            result.scenario, config.conns, config.rooms, config.rate_per_s, config.secs
        );
    }
    match &compared.judgement {
        Some(judgement) if judgement.figures.len() == 1 => {
            let figure = &judgement.figures[0];
            let interval = figure
                .interval
                .map_or_else(String::new, |[low, high]| format!(", 95 %: {low:.3} … {high:.3}"));
            let _ = writeln!(
                out,
                "\n  chat server  {:>6.2} µs of CPU a delivery\n  bare loop    {:>6.2} µs of CPU a write{}\n  \
                 ratio        {:>6.3}{interval}, {} pairs of runs\n  floor        {:>6.1} % is what each side shows \
                 against itself",
                figure.b,
                figure.a,
                thread(compared),
                figure.ratio,
                judgement.pairs,
                figure.noise_floor * 100.0
            );
        }
        _ => out.push_str("\nNo ratio: the figures of a run that is not VALID stand for nothing.\n"),
    }
    broken_rules(&mut out, compared);
    runs(&mut out, compared);
    out.push_str(
        "\n  CPU of the process that writes, and of the one that reads, a delivery. The kernel's work\n  \
         for loopback TCP outside of both is charged to none. p50 and p99: from the due instant.\n",
    );
    clip(&out)
}

/// By the writer's own clock, in the mean.
fn thread(compared: &Compared) -> String {
    let own: Vec<f64> =
        compared.turns.iter().filter_map(|turn| turn.result.bare.as_ref()?.thread_us).collect();
    match own.len() {
        0 => String::new(),
        n => format!(" ({:.2} of its thread)", own.iter().sum::<f64>() / n as f64),
    }
}

fn runs(out: &mut String, compared: &Compared) {
    let _ = writeln!(
        out,
        "\n{:>4}  {:<12}{:>13}{:>11}{:>11}{:>9}{:>9}  verdict",
        "run", "", "deliveries/s", "write, µs", "read, µs", "p50, ms", "p99, ms"
    );
    for (at, Turn { which, result }) in compared.turns.iter().enumerate() {
        let who = match which {
            Which::A => "bare loop",
            Which::B => "chat server",
        };
        let _ = writeln!(
            out,
            "{:>4}  {who:<12}{:>13.0}{:>11}{:>11}{:>9}{:>9}  {}",
            at + 1,
            result.delivered_per_s,
            each(result.resources.server),
            each(result.resources.generator),
            ms(result, |result| result.latency.delivery.p50_us),
            ms(result, |result| result.latency.delivery.p99_us),
            result.verdict.kind
        );
    }
}

fn each(used: Option<Usage>) -> String {
    used.and_then(|used| used.us_per_delivery).map_or_else(|| "–".into(), |us| format!("{us:.2}"))
}

fn ms(result: &RunResult, read: fn(&RunResult) -> Option<u64>) -> String {
    read(result).map_or_else(|| "–".into(), |us| format!("{:.2}", us as f64 / 1000.0))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::{
        bare::Bare,
        compare::{Options, Question, Session},
        report::WIDTH,
        testing,
        verdict::Kind,
    };

    fn session(kind: Kind) -> Compared {
        let options = Options { rounds: 3, question: Question::Cpu, ..Options::default() };
        let run = |which| {
            let mut result = testing::run(if which == Which::B { 1.3 } else { 1.0 });
            result.verdict.kind = kind;
            if which == Which::A {
                result.bare = Some(Bare {
                    bytes: 200,
                    writes: 20_000,
                    calls: 20_000,
                    reads: 20_000,
                    thread_us: Some(24.5),
                    process_us: Some(24.9),
                    thread_cores: Some(0.2),
                });
            }
            Ok::<_, Infallible>(result)
        };
        Session::new("bare loop", "chat server, reference", options).take(run).unwrap()
    }

    #[test]
    fn the_ratio_is_the_servers_cost_over_the_bare_loops() {
        let text = floor(&session(Kind::Valid));
        println!("{text}");
        for said in [
            "1.300",
            "32.50 µs of CPU a delivery",
            "25.00 µs of CPU a write",
            "24.50 of its thread",
            "6 pairs",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
        assert_eq!(text.lines().filter(|line| line.contains("VALID")).count(), 12);
    }

    #[test]
    fn there_is_no_ratio_of_runs_that_are_not_valid() {
        let text = floor(&session(Kind::Unstable));
        assert!(text.contains("No ratio") && !text.contains("1.300"), "{text}");
    }
}
