//! The page around the charts: one file, no script, nothing from elsewhere.

use std::fmt::Write;

/// The palette is M. Okabe and K. Ito's, Color Universal Design (2002, <https://jfly.uni-koeln.de/color/>), told apart by
/// people with any common colour vision; every series has a line style or a shape of its own and a name beside it as well.
const STYLE: &str = include_str!("page.css");

/// Forbids everything but the page's own style, so that a report can't reach out even if a title tried to make it.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// A text as it may stand in HTML and in attributes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A whole page.
pub(super) fn page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )
}

/// A part of the page under its own heading; nothing when it is empty.
pub(super) fn section(heading: &str, content: &str) -> String {
    if content.is_empty() {
        return String::new();
    }
    format!("<section>\n<h2>{}</h2>\n{content}</section>\n", escape(heading))
}

/// A paragraph.
pub(super) fn paragraph(class: &str, text: &str) -> String {
    format!("<p class=\"{class}\">{}</p>\n", escape(text))
}

/// A table; the first column names the row, the others are figures where `figures` says so.
pub(super) fn table(head: &[&str], rows: &[Vec<String>], figures: bool) -> String {
    let class = if figures { " class=\"figures\"" } else { " class=\"words\"" };
    let mut out = format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"table\" tabindex=\"0\"><table{class}>\n<thead><tr>"
    );
    for cell in head {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escape(cell));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (at, cell) in row.iter().enumerate() {
            let cell = escape(cell);
            let _ = match at {
                0 => write!(out, "<th scope=\"row\">{cell}</th>"),
                _ => write!(out, "<td>{cell}</td>"),
            };
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    out
}

/// Names and values.
pub(super) fn list(entries: &[(String, String)]) -> String {
    let mut out = String::from("<dl>\n");
    for (name, value) in entries {
        let _ = writeln!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    }
    out.push_str("</dl>\n");
    out
}

/// A few figures, large.
pub(super) fn tiles(figures: &[(String, &str)]) -> String {
    let mut out = String::from("<div class=\"tiles\">\n");
    for (value, name) in figures {
        let _ = writeln!(out, "<div><b>{}</b><span>{}</span></div>", escape(value), escape(name));
    }
    out.push_str("</div>\n");
    out
}

/// A word that judges: good, bad, different or undecided, told by a sign and the word itself.
pub(super) fn badge(tone: Tone, text: &str) -> String {
    let (class, sign) = match tone {
        Tone::Good => ("good", "✓"),
        Tone::Bad => ("bad", "✗"),
        Tone::Other => ("bad", "≠"),
        Tone::Open => ("open", "?"),
    };
    format!("<p class=\"badge {class}\"><span aria-hidden=\"true\">{sign}</span> {}</p>\n", escape(text))
}

/// A [`badge`]'s tone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
    Other,
    Open,
}

/// A chart with what its lines are, and a sentence on how to read it.
pub(super) fn figure(heading: &str, legend: &[(&str, &str)], svg: &str, caption: &str) -> String {
    let mut out = format!("<figure>\n<h3>{}</h3>\n", escape(heading));
    if !legend.is_empty() {
        out.push_str("<ul class=\"legend\">");
        for (class, name) in legend {
            let sample = match class.as_bytes().first() {
                Some(b's') => format!("<path d=\"M1 6H27\" class=\"{class}\"/>"),
                Some(b'h' | b'b') => format!("<path d=\"M7 0h14v12h-14z\" class=\"{class}\"/>"),
                _ => marked(class),
            };
            let _ = write!(
                out,
                "<li><svg viewBox=\"0 0 28 12\" aria-hidden=\"true\">{sample}</svg>{}</li>",
                escape(name)
            );
        }
        out.push_str("</ul>\n");
    }
    let _ = writeln!(out, "{svg}\n<figcaption>{}</figcaption>\n</figure>", escape(caption));
    out
}

/// The sample of a mark in a legend; see [`super::svg::Shape`].
fn marked(class: &str) -> String {
    let path = match class {
        "m2" => "M10 2l8 8m0-8l-8 8",
        "m3" => "M10.5 2.5h7v7h-7z",
        "m4" => "M9.5 2h9l-4.5 8z",
        _ => "M10 6a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    };
    format!("<path d=\"{path}\" class=\"{class}\"/>")
}

/// Charts beside each other where there is room.
pub(super) fn charts(figures: &[String]) -> String {
    let all: String = figures.concat();
    if all.is_empty() { all } else { format!("<div class=\"charts\">\n{all}</div>\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_is_escaped_everywhere() {
        let nasty = "<img src=x onerror=\"alert('1')\">&\u{7}";
        let cells = vec![vec![nasty.to_owned(), nasty.to_owned()]];
        let all = page(
            nasty,
            &[
                table(&[nasty], &cells, true),
                list(&[(nasty.into(), nasty.into())]),
                tiles(&[(nasty.into(), "x")]),
                badge(Tone::Bad, nasty),
                figure(nasty, &[("s1", nasty)], "", nasty),
                section(nasty, &paragraph("", nasty)),
            ]
            .concat(),
        );
        assert!(!all.contains("<img") && !all.contains('\u{7}'));
    }

    #[test]
    fn a_page_holds_nothing_that_could_be_fetched_or_run() {
        let all = page("t", "");
        for bad in ["<script", "http://", "https://", "@import", "url(", "src="] {
            assert!(!all.contains(bad), "{bad}");
        }
        assert!(all.contains("default-src 'none'"));
    }
}
