//! Values as text: on one line for traces, and as redis-cli shows them.

use std::fmt::Write as _;

use super::{Kind, Reply, Text};
use crate::redis::{REPLY_PRINT_BYTES, printable_arg};

/// On one line, cut at a bound, as [`printable_reply`](crate::redis::printable_reply) does for the handle.
pub(crate) fn one_line(value: &Reply) -> String {
    let mut text = String::new();
    write_line(&mut text, value);
    text
}

fn printable(text: &Text) -> String {
    let mut shown = printable_arg(&text.bytes);
    if text.len > text.bytes.len() && !shown.ends_with('…') {
        shown.push('…');
    }
    shown
}

fn write_line(out: &mut String, value: &Reply) {
    match value {
        Reply::Nil(_) => out.push_str("(nil)"),
        Reply::Simple(text) => out.push_str(&printable(text)),
        Reply::Error(text) => {
            let _ = write!(out, "(error) {}", printable(text));
        }
        Reply::Int(number) => {
            let _ = write!(out, "(integer) {number}");
        }
        Reply::Scalar(sigil, text) => out.push_str(&scalar(*sigil, text)),
        Reply::Bulk(text) => {
            let _ = write!(out, "\"{}\"", printable(text));
        }
        Reply::Verbatim(text) => {
            let _ = write!(out, "\"{}\"", printable(&unlabelled(text)));
        }
        Reply::Items(kind, items) if items.len == 0 => out.push_str(empty(*kind)),
        Reply::Items(kind, items) => {
            let map = *kind == Kind::Map;
            let start = out.len();
            out.push(if map { '{' } else { '[' });
            for (index, item) in items.items.iter().enumerate() {
                if index > 0 {
                    out.push_str(if map && index % 2 == 1 { " => " } else { ", " });
                }
                if out.len() - start >= REPLY_PRINT_BYTES && (!map || index % 2 == 0) {
                    let _ = write!(out, "… {} more", items.len - index);
                    break;
                }
                write_line(out, item);
            }
            out.push(if map { '}' } else { ']' });
        }
    }
}

fn scalar(sigil: u8, text: &[u8]) -> String {
    match (sigil, text) {
        (b',', number) => format!("(double) {}", printable_arg(number)),
        (b'#', b"t") => "(true)".to_owned(),
        (b'#', _) => "(false)".to_owned(),
        (_, number) => printable_arg(number),
    }
}

/// Without the three letters that say what kind of text it is.
fn unlabelled(text: &Text) -> Text {
    let label = text.bytes.len().min(4);
    Text { bytes: text.bytes[label..].to_vec(), len: text.len.saturating_sub(label) }
}

fn empty(kind: Kind) -> &'static str {
    match kind {
        Kind::Array | Kind::Attribute => "(empty array)",
        Kind::Set => "(empty set)",
        Kind::Push => "(empty push)",
        Kind::Map => "(empty hash)",
    }
}

/// As redis-cli shows a value on a terminal; no line end after it.
pub(crate) fn as_redis_cli(value: &Reply) -> String {
    let mut out = String::new();
    write_cli(&mut out, value, "");
    out.truncate(out.trim_end_matches('\n').len());
    out
}

fn write_cli(out: &mut String, value: &Reply, prefix: &str) {
    match value {
        Reply::Simple(text) => out.push_str(&String::from_utf8_lossy(&text.bytes)),
        Reply::Error(text) => {
            let _ = write!(out, "(error) {}", String::from_utf8_lossy(&text.bytes));
        }
        Reply::Bulk(text) => quote(out, text),
        Reply::Verbatim(text) => out.push_str(&String::from_utf8_lossy(&unlabelled(text).bytes)),
        Reply::Items(kind, items) if items.len > 0 => return write_items(out, *kind, items, prefix),
        other => write_line(out, other),
    }
    out.push('\n');
}

fn write_items(out: &mut String, kind: Kind, items: &super::Items, prefix: &str) {
    let each = if kind == Kind::Map { 2 } else { 1 };
    let width = (items.len / each).to_string().len();
    let inner = format!("{prefix}{}", " ".repeat(width + 2));
    let sign = match kind {
        Kind::Array | Kind::Attribute => ')',
        Kind::Set => '~',
        Kind::Push => '>',
        Kind::Map => '#',
    };
    for (index, chunk) in items.items.chunks(each).enumerate() {
        // The first item stands on the line that the container's own number began.
        let _ = write!(out, "{}{:>width$}{sign} ", if index == 0 { "" } else { prefix }, index + 1);
        if let Some(first) = chunk.first() {
            write_cli(out, first, &inner);
        }
        if let Some(second) = chunk.get(1) {
            out.truncate(out.trim_end_matches('\n').len());
            out.push_str(" => ");
            write_cli(out, second, &inner);
        }
    }
    if items.items.len() < items.len {
        let _ = writeln!(out, "{prefix}… {} more", (items.len - items.items.len()) / each);
    }
}

/// In quotes, everything but printable ASCII escaped.
fn quote(out: &mut String, text: &Text) {
    out.push('"');
    for &byte in &text.bytes {
        match byte {
            b'\\' | b'"' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x07 => out.push_str("\\a"),
            0x08 => out.push_str("\\b"),
            b' '..=b'~' => out.push(char::from(byte)),
            byte => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    if text.bytes.len() < text.len {
        out.push('…');
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Limits, Scanner};

    fn shown(bytes: &[u8]) -> String {
        let mut scanner = Scanner::new(Limits { text: 1_000, values: 1_000 });
        let (taken, value) = scanner.feed(bytes).unwrap();
        assert_eq!(taken, bytes.len());
        as_redis_cli(&value.unwrap())
    }

    #[test]
    fn replies_look_as_in_redis_cli() {
        let cases: [(&[u8], &str); 9] = [
            (b":1\r\n", "(integer) 1"),
            (b"$-1\r\n", "(nil)"),
            (b"-ERR no such thing\r\n", "(error) ERR no such thing"),
            (b"$4\r\na\"\xff\n\r\n", r#""a\"\xff\n""#),
            (b"*0\r\n", "(empty array)"),
            (b"*2\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n", "1) \"a\"\n2) 1) (integer) 1\n   2) (nil)"),
            (b"%1\r\n+f\r\n*1\r\n:1\r\n", "1# f => 1) (integer) 1"),
            (b"~1\r\n$1\r\na\r\n", "1~ \"a\""),
            (b"#t\r\n", "(true)"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(shown(bytes), expected);
        }
        let ten = shown(&[b"*10\r\n".to_vec(), b":1\r\n".repeat(10)].concat());
        assert!(ten.starts_with(" 1) (integer) 1\n 2)") && ten.ends_with("\n10) (integer) 1"), "{ten}");
    }
}
