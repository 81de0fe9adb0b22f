//! Commands and replies as one line of printable text, cut at named bounds.

use std::fmt::Write as _;

use ::redis::{Arg, Cmd, RedisError, Value};

/// An argument is printed up to this many bytes.
pub const ARG_PRINT_BYTES: usize = 200;
/// A reply is printed up to about this many bytes.
pub const REPLY_PRINT_BYTES: usize = 200;
/// The most arguments of one command that are printed.
const ARGS_PRINTED: usize = 200;
/// Stands where something was cut off.
const CUT: char = '…';

/// The bytes as text on one line: control and invalid bytes become `\xNN`, a long text is cut.
pub fn printable_arg(bytes: &[u8]) -> String {
    let kept = &bytes[..bytes.len().min(ARG_PRINT_BYTES)];
    let mut text = String::with_capacity(kept.len());
    let cut = kept.len() < bytes.len();
    for chunk in kept.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                letter if letter.is_control() => {
                    let _ = write!(text, "\\x{:02x}", u32::from(letter));
                }
                letter => text.push(letter),
            }
        }
        // A character that the cut split is no invalid byte of the argument.
        if cut && std::ptr::eq(chunk.invalid().as_ptr_range().end, kept.as_ptr_range().end) {
            break;
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    if cut {
        text.push(CUT);
    }
    text
}

/// The command's arguments, each printable.
pub(super) fn printable_command(cmd: &Cmd) -> Vec<String> {
    let count = cmd.args_iter().len();
    let mut args: Vec<_> = cmd
        .args_iter()
        .take(ARGS_PRINTED)
        .map(|arg| match arg {
            Arg::Simple(bytes) => printable_arg(bytes),
            _ => "0".to_owned(),
        })
        .collect();
    if count > ARGS_PRINTED {
        args.push(format!("{CUT} {} more", count - ARGS_PRINTED));
    }
    args
}

/// The reply on one line, much as redis-cli shows it.
pub fn printable_reply(value: &Value) -> String {
    let mut text = String::new();
    write_reply(&mut text, value);
    text
}

/// An error as redis-cli shows it.
pub(super) fn printable_error(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("(error) {code} {}", printable_arg(detail.as_bytes())),
        (Some(code), None) => format!("(error) {code}"),
        _ => format!("(error) {}", printable_arg(error.to_string().as_bytes())),
    }
}

fn write_reply(text: &mut String, value: &Value) {
    match value {
        Value::Nil => text.push_str("(nil)"),
        Value::Okay => text.push_str("OK"),
        Value::SimpleString(status) => text.push_str(&printable_arg(status.as_bytes())),
        Value::BulkString(bytes) => {
            let _ = write!(text, "\"{}\"", printable_arg(bytes));
        }
        Value::VerbatimString { text: inner, .. } => {
            let _ = write!(text, "\"{}\"", printable_arg(inner.as_bytes()));
        }
        Value::Array(items) | Value::Set(items) => write_items(text, items),
        Value::Push { data, .. } => write_items(text, data),
        Value::Map(pairs) => write_pairs(text, pairs),
        Value::Attribute { data, .. } => write_reply(text, data),
        Value::ServerError(error) => {
            let details = error.details().unwrap_or_default();
            let _ = write!(text, "(error) {} {}", error.code(), printable_arg(details.as_bytes()));
        }
        Value::Int(number) => {
            let _ = write!(text, "(integer) {number}");
        }
        Value::Double(number) => {
            let _ = write!(text, "(double) {number}");
        }
        Value::Boolean(truth) => {
            let _ = write!(text, "({truth})");
        }
        other => {
            let _ = write!(text, "{other:?}");
        }
    }
}

fn write_items(text: &mut String, items: &[Value]) {
    if items.is_empty() {
        text.push_str("(empty array)");
        return;
    }
    let start = text.len();
    text.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        if text.len() - start >= REPLY_PRINT_BYTES {
            let _ = write!(text, "{CUT} {} more", items.len() - index);
            break;
        }
        write_reply(text, item);
    }
    text.push(']');
}

fn write_pairs(text: &mut String, pairs: &[(Value, Value)]) {
    let start = text.len();
    text.push('{');
    for (index, (key, value)) in pairs.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        if text.len() - start >= REPLY_PRINT_BYTES {
            let _ = write!(text, "{CUT} {} more", pairs.len() - index);
            break;
        }
        write_reply(text, key);
        text.push_str(" => ");
        write_reply(text, value);
    }
    text.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_stay_on_one_line_and_within_the_bound() {
        assert_eq!(printable_arg(b"a\r\n\xff\x00z"), "a\\r\\n\\xff\\x00z");
        assert_eq!(printable_arg("ä".as_bytes()), "ä");
        let long = printable_arg("é".repeat(150).as_bytes());
        assert_eq!(long.chars().count(), 101);
        let split = format!("x{}", "é".repeat(150));
        let shown = printable_arg(split.as_bytes());
        assert!(shown.ends_with("é…"), "{shown}");
    }

    #[test]
    fn replies_read_like_redis_cli() {
        let value = Value::Array(vec![Value::Int(1), Value::Nil, Value::BulkString(b"two".to_vec())]);
        assert_eq!(printable_reply(&value), "[(integer) 1, (nil), \"two\"]");
        assert_eq!(printable_reply(&Value::Okay), "OK");
        let many = Value::Array(vec![Value::Int(1); 1_000]);
        assert!(printable_reply(&many).len() < REPLY_PRINT_BYTES + 50);
        let error = ::redis::parse_redis_value(b"-WRONGTYPE no list\r\n").unwrap();
        assert_eq!(printable_reply(&error), "(error) WRONGTYPE no list");
    }
}
