//! A session for a terminal.

use std::fmt::Write;

use super::{
    figures::number,
    judge::{Answer, Judged, Judgement, MAX_ROUNDS},
    quick::Which,
    session::Compared,
};
use crate::report::{clip, wrap};

/// For people, at most [`crate::report::WIDTH`] columns, without colour.
pub fn session(compared: &Compared) -> String {
    let mut out = String::new();
    // Writing to a String can't fail.
    let _ = writeln!(out, "A  {}\nB  {}\n", compared.a, compared.b);
    let order: String = compared
        .turns
        .chunks(4)
        .map(|round| round.iter().map(|turn| format!("{:?}", turn.which)).collect::<String>() + " ")
        .collect();
    let _ = writeln!(out, "{} runs, order of seed {}:", compared.turns.len(), compared.options.seed);
    for line in order.as_bytes().chunks(75) {
        let _ = writeln!(out, "  {}", String::from_utf8_lossy(line).trim());
    }
    broken_rules(&mut out, compared);
    match &compared.judgement {
        Some(judgement) => judged(&mut out, compared, judgement),
        None => {
            let _ = writeln!(out, "The figures of a run that is not VALID stand for nothing.");
        }
    }
    clip(&out)
}

/// Why runs are not valid, where some are not.
pub(super) fn broken_rules(out: &mut String, compared: &Compared) {
    let Some(why) = &compared.withheld else { return };
    let _ = writeln!(out, "\nNot a comparison of valid runs: {why}.");
    for (at, turn) in compared.turns.iter().enumerate() {
        for broken in turn.result.verdict.broken() {
            let (rule, seen, limit) = (&broken.rule, &broken.seen, &broken.limit);
            let _ = writeln!(out, "  run {} ({:?}) broke {rule}: {seen} (limit {limit})", at + 1, turn.which);
        }
    }
}

fn judged(out: &mut String, compared: &Compared, judgement: &Judgement) {
    let _ = writeln!(out, "\nAnswer   {}", judgement.answer);
    for line in sentences(compared, judgement) {
        let _ = writeln!(out, "{}", wrap(&format!("  {line}"), "  "));
    }
    let _ = writeln!(out, "\n{:<27}{:>9}{:>9}{:>7}{:>15}{:>7}", "", "A", "B", "B/A", "interval", "floor");
    for figure in &judgement.figures {
        let interval = figure
            .interval
            .map_or_else(|| "–".into(), |[low, high]| format!("{} … {}", bounded(low), bounded(high)));
        let _ = writeln!(
            out,
            "{:<27}{:>9}{:>9}{:>7.3}{interval:>15}{:>6.1}%",
            name(figure),
            number(figure.a),
            number(figure.b),
            figure.ratio,
            figure.noise_floor * 100.0
        );
        let _ = writeln!(out, "    {}", said(figure));
        if let Some(line) = paced(figure) {
            let _ = writeln!(out, "{}", wrap(&format!("    {line}"), "    "));
        }
    }
    let _ = writeln!(
        out,
        "\nB/A: geometric means over {} pairs of neighbouring runs; interval: {:.0} %, for\n\
         the figure alone. floor: what each side against itself gives in this session.\n\
         at one pace: without what goes along with the generator's own CPU a delivery.\n\
         {} *: the answer rests on it.",
        judgement.pairs,
        compared.options.confidence * 100.0,
        match judgement.figures.len() {
            1 => "One figure was asked for.".to_owned(),
            n => format!("The answers allow for {n} figures looked at together."),
        }
    );
}

fn name(figure: &Judged) -> String {
    format!("{}{}", figure.name, if figure.primary { " *" } else { "" })
}

fn bounded(ratio: f64) -> String {
    if ratio.is_finite() && ratio < 1000.0 { format!("{ratio:.3}") } else { "∞".into() }
}

/// A figure's answer in words.
pub(crate) fn said(figure: &Judged) -> String {
    let percent = (figure.ratio - 1.0) * 100.0;
    let would = figure.detectable.map(|least| format!("{:.1} % would have been seen", least * 100.0));
    match (figure.answer, would) {
        (Answer::Differs, _) => format!("differs: B is {percent:+.1} %"),
        (Answer::NoDifferenceSeen, would) => format!("no difference seen; {}", would.unwrap_or_default()),
        (Answer::Underpowered, would) => {
            let need = figure.more_rounds.map_or_else(
                || format!("more than {MAX_ROUNDS} rounds would be needed"),
                |more| format!("{} would do", counted(more)),
            );
            let so_far = would.map_or_else(|| "too few runs".into(), |would| format!("only {would}"));
            format!("underpowered: {so_far}; {need}")
        }
    }
}

/// What the machine's pace did to a figure, in words; none where it is not known.
pub(crate) fn paced(figure: &Judged) -> Option<String> {
    let pace = figure.pace?;
    let generator = format!("generator B/A {:.3}", pace.generator);
    let explained = format!("the machine's pace explains {:.0} %", pace.explained * 100.0);
    if !pace.corrected {
        return Some(format!("as measured: {explained}, {generator}"));
    }
    let interval = pace
        .measured_interval
        .map_or_else(String::new, |[low, high]| format!(", {} … {}", bounded(low), bounded(high)));
    Some(format!("at one pace; as measured B/A {:.3}{interval}; {explained}, {generator}", pace.measured))
}

fn counted(more: usize) -> String {
    if more == 1 { "1 more round".into() } else { format!("{more} more rounds") }
}

/// The session's answer in words.
pub(crate) fn sentences(compared: &Compared, judgement: &Judgement) -> Vec<String> {
    let names = |answer: Answer, primary: bool| {
        let of = judgement.figures.iter().filter(|f| f.answer == answer && (f.primary || !primary));
        of.map(|f| f.name.split(',').next().unwrap_or_default().to_owned()).collect::<Vec<_>>().join(", ")
    };
    let effect = compared.options.effect * 100.0;
    let mut lines = match judgement.answer {
        Answer::Differs => vec![format!("It differs in: {}", names(Answer::Differs, false))],
        Answer::NoDifferenceSeen => {
            vec![format!("{effect:.0} % would have been seen in: {}", names(Answer::NoDifferenceSeen, true))]
        }
        Answer::Underpowered => {
            let missed = names(Answer::Underpowered, true);
            vec![match judgement.more_rounds {
                Some(more) => {
                    format!("{effect:.0} % could have been missed in: {missed}; {} would do", counted(more))
                }
                None => format!("{effect:.0} % could have been missed in: {missed}"),
            }]
        }
    };
    let runs = |which| compared.turns.iter().filter(|turn| turn.which == which).count();
    lines.push(format!(
        "{} runs of A, {} of B, {} pairs; a further look needs a new session",
        runs(Which::A),
        runs(Which::B),
        judgement.pairs
    ));
    lines
}
