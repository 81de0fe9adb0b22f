//! The page of a comparison.

use super::super::{
    chart::ratios,
    html::{Tone, badge, charts, escape, figure, list, page as whole, paragraph, section, table},
    terminal::asked_for,
};
use crate::compare::{Answer, Compared, Judged, Judgement, Turn, number, paced, said, sentences};

/// The page of a session of A and B.
pub fn page(compared: &Compared) -> String {
    let asked =
        compared.turns.first().map(|turn| format!("{}: {}", turn.result.scenario, asked_for(&turn.result)));
    let mut body = format!(
        "<h1>{} against {}</h1>\n{}",
        escape(&compared.a),
        escape(&compared.b),
        paragraph(
            "about",
            &format!("A is {}, B is {}. {}", compared.a, compared.b, asked.unwrap_or_default())
        )
    );
    body += &answer(compared);
    if let Some(judgement) = &compared.judgement {
        body += &section("B over A", &drawn(compared, judgement));
        body += &section("Figures", &figures(judgement));
    }
    body += &section("Runs", &runs(&compared.turns));
    body += &section("How it was compared", &how(compared));
    whole(&format!("{} against {}", compared.a, compared.b), &body)
}

fn answer(compared: &Compared) -> String {
    let mut out = match &compared.judgement {
        Some(judgement) => {
            let tone = match judgement.answer {
                Answer::Differs => Tone::Other,
                Answer::NoDifferenceSeen => Tone::Good,
                Answer::Underpowered => Tone::Open,
            };
            let told: String =
                sentences(compared, judgement).iter().map(|text| paragraph("", text)).collect();
            badge(tone, &judgement.answer.to_string()) + &told
        }
        None => badge(Tone::Open, "withheld"),
    };
    if let Some(why) = &compared.withheld {
        out += &paragraph("", &format!("Not a comparison of valid runs: {why}."));
    }
    out
}

fn drawn(compared: &Compared, judgement: &Judgement) -> String {
    let mut figures: Vec<&Judged> = judgement.figures.iter().collect();
    figures.sort_by_key(|f| (!f.primary, f.answer != Answer::Differs));
    let legend = [
        ("m4", "differs"),
        ("m1", "no difference seen"),
        ("m3", "underpowered"),
        ("band", "noise floor: each side against itself"),
    ];
    let mut all: Vec<String> = ratios::ratios(&figures)
        .map(|svg| {
            let caption =
                "1 is no difference; more than 1: B has more. The line is the interval of this figure alone.";
            figure("Ratios and their intervals", &legend, &svg, caption)
        })
        .into_iter()
        .collect();
    let lab = compared.turns.first().is_some_and(|turn| turn.result.config.is_operations());
    let p50 = |turn: &Turn| {
        let latency = &turn.result.latency;
        let summary = if lab { &latency.ack } else { &latency.delivery };
        summary.p50_us.map(|us| us as f64 / 1000.0)
    };
    let cpu = |turn: &Turn| turn.result.resources.server?.us_per_delivery;
    let of_runs = [
        ("median, ms", ratios::in_order(&compared.turns, "median, ms", p50)),
        ("server CPU, µs a delivery", ratios::in_order(&compared.turns, "server CPU, µs a delivery", cpu)),
    ];
    for (name, svg) in of_runs {
        if let Some(svg) = svg {
            let caption = "A slope that both sides share is the machine's drift; the order takes it out.";
            all.push(figure(&format!("Run by run: {name}"), &[("m1", "A"), ("m2", "B")], &svg, caption));
        }
    }
    charts(&all)
}

fn figures(judgement: &Judgement) -> String {
    let rows: Vec<Vec<String>> = judgement
        .figures
        .iter()
        .map(|f| {
            let interval = f
                .interval
                .map_or_else(|| "–".into(), |[low, high]| format!("{low:.3}\u{a0}…\u{a0}{high:.3}"));
            let name = if f.primary { format!("{} *", f.name) } else { f.name.clone() };
            vec![
                name,
                number(f.a),
                number(f.b),
                format!("{:.3}", f.ratio),
                interval,
                format!("{:.1} %", f.noise_floor * 100.0),
                format!("{:.3}", f.chance),
                std::iter::once(said(f)).chain(paced(f)).collect::<Vec<_>>().join("; "),
            ]
        })
        .collect();
    table(&["", "A", "B", "B/A", "interval", "noise floor", "chance", "answer"], &rows, false)
        + &paragraph(
            "note",
            "A and B: geometric means of the runs. chance: how often pairs would lean so far in any figure if A and B \
             were the same. *: the answer of the whole rests on it. at one pace: without what goes along with the \
             generator's own CPU a delivery.",
        )
}

fn runs(turns: &[Turn]) -> String {
    let rows: Vec<Vec<String>> = turns
        .iter()
        .enumerate()
        .map(|(at, turn)| {
            let broken: Vec<String> =
                turn.result.verdict.broken().map(|b| format!("{}: {}", b.rule, b.seen)).collect();
            let kind = turn.result.verdict.kind.to_string();
            vec![(at + 1).to_string(), format!("{:?}", turn.which), kind, broken.join("; ")]
        })
        .collect();
    table(&["run", "of", "verdict", "broken rules"], &rows, false)
}

fn how(compared: &Compared) -> String {
    let o = &compared.options;
    let pairs = compared.judgement.as_ref().map_or(0, |judgement| judgement.pairs);
    let entry = |name: &str, value: String| (name.to_owned(), value);
    list(&[
        entry("rounds", format!("{} of four runs, {pairs} pairs judged", o.rounds)),
        entry("seed of the order", o.seed.to_string()),
        entry("effect not to be missed", format!("{:.0} %", o.effect * 100.0)),
        entry("negligible", format!("under {:.1} %", o.negligible * 100.0)),
        entry("confidence", format!("{:.0} %", o.confidence * 100.0)),
        entry("bootstrap draws", o.resamples.to_string()),
    ]) + &paragraph(
        "note",
        "Blocks are pairs of neighbouring runs, whole: seconds of one run share its server, memory layout and neighbours, \
         and are not independent of each other.",
    )
}
