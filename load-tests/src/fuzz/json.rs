//! JSON that may be wrong in every way a hostile client thinks of: parsed from what is right, changed where its structure is,
//! and written back as it stands.

use rand::{Rng, seq::IndexedRandom, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

/// The deepest nesting that is built: far over the parser's bound, and still within a frame.
const MAX_DEPTH: usize = 7_000;
/// The longest text that is built, in bytes: over the bound of a frame.
const MAX_TEXT: usize = 20_000;
/// The most fields that are added at once.
const MAX_FIELDS: usize = 400;

/// A value that keeps duplicate keys and what is no JSON at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Json {
    /// Written as it is.
    Raw(String),
    Text(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl From<&Value> for Json {
    fn from(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Object(fields) => {
                Self::Map(fields.iter().map(|(name, value)| (name.clone(), Self::from(value))).collect())
            }
            other => Self::Raw(other.to_string()),
        }
    }
}

impl std::fmt::Display for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let quoted = |text: &str| Value::String(text.to_owned()).to_string();
        match self {
            Self::Raw(text) => f.write_str(text),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::List(items) => {
                f.write_str("[")?;
                for (nth, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if nth > 0 { "," } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Map(fields) => {
                f.write_str("{")?;
                for (nth, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{}:{value}", if nth > 0 { "," } else { "" }, quoted(name))?;
                }
                f.write_str("}")
            }
        }
    }
}

/// A change of a value's structure.
type Change = fn(&mut Json, &mut ChaCha8Rng);

const CHANGES: [Change; 11] = [
    remove_field,
    double_field,
    replace_value,
    replace_value,
    rename_field,
    add_fields,
    nest,
    spoil_text,
    spoil_text,
    swap_values,
    shuffle_fields,
];

/// One to three changes of the structure and, now and then, of the text.
pub(super) fn mutated(value: &Value, rng: &mut ChaCha8Rng) -> String {
    let mut json = Json::from(value);
    for _ in 0..rng.random_range(1..=3) {
        if let Some(change) = CHANGES.choose(rng) {
            change(some_node(&mut json, rng), rng);
        }
    }
    let text = json.to_string();
    if rng.random_bool(0.15) { damaged(text, rng) } else { text }
}

/// The value itself, or one somewhere in it.
fn some_node<'a>(json: &'a mut Json, rng: &mut ChaCha8Rng) -> &'a mut Json {
    let below = rng.random_bool(0.3);
    let count = match json {
        Json::List(items) if below => items.len(),
        Json::Map(fields) if below => fields.len(),
        _ => 0,
    };
    if count == 0 {
        return json;
    }
    let nth = rng.random_range(0..count);
    match json {
        Json::List(items) => some_node(&mut items[nth], rng),
        Json::Map(fields) => some_node(&mut fields[nth].1, rng),
        other => other,
    }
}

fn remove_field(json: &mut Json, rng: &mut ChaCha8Rng) {
    match json {
        Json::Map(fields) if !fields.is_empty() => drop(fields.remove(rng.random_range(0..fields.len()))),
        Json::List(items) if !items.is_empty() => drop(items.remove(rng.random_range(0..items.len()))),
        other => *other = Json::Raw(String::new()),
    }
}

fn double_field(json: &mut Json, rng: &mut ChaCha8Rng) {
    let Json::Map(fields) = json else { return replace_value(json, rng) };
    let Some((name, value)) = fields.choose(rng).cloned() else { return };
    let value = if rng.random() { value } else { odd(rng) };
    fields.insert(rng.random_range(0..=fields.len()), (name, value));
}

fn replace_value(json: &mut Json, rng: &mut ChaCha8Rng) {
    match json {
        Json::Map(fields) if !fields.is_empty() => {
            let nth = rng.random_range(0..fields.len());
            fields[nth].1 = odd(rng);
        }
        other => *other = odd(rng),
    }
}

fn rename_field(json: &mut Json, rng: &mut ChaCha8Rng) {
    let Json::Map(fields) = json else { return replace_value(json, rng) };
    if fields.is_empty() {
        return;
    }
    let nth = rng.random_range(0..fields.len());
    let name = &mut fields[nth].0;
    match rng.random_range(0..5) {
        0 => *name = name.to_uppercase(),
        1 => name.push(' '),
        2 => name.clear(),
        3 => name.push('\u{0}'),
        _ => *name = "t".to_owned(),
    }
}

fn add_fields(json: &mut Json, rng: &mut ChaCha8Rng) {
    let Json::Map(fields) = json else { return replace_value(json, rng) };
    let known = ["t", "id", "v", "token", "room", "after", "limit", "__proto__", "constructor", "", "$ref"];
    let many = if rng.random_bool(0.2) { MAX_FIELDS } else { 3 };
    for nth in 0..rng.random_range(1..=many) {
        let name = known.choose(rng).copied().unwrap_or_default();
        let name = if rng.random() { name.to_owned() } else { format!("x{nth}") };
        fields.push((name, Json::Raw(nth.to_string())));
    }
}

fn nest(json: &mut Json, rng: &mut ChaCha8Rng) {
    // Not as values in values: they would be dropped one in the other.
    let deep = if rng.random_bool(0.3) { MAX_DEPTH } else { 200 };
    let depth = rng.random_range(1..=deep);
    let (open, close) = if rng.random() { ("[", "]") } else { (r#"{"a":"#, "}") };
    let depth = depth.min(MAX_TEXT / (open.len() + close.len()));
    let unbalanced = if rng.random_bool(0.2) { 1 } else { 0 };
    *json = Json::Raw(format!("{}{json}{}", open.repeat(depth), close.repeat(depth - unbalanced)));
}

/// Characters and escapes that are awkward for somebody.
const AWKWARD: [&str; 16] = [
    "\u{0}",
    "\u{1}",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{202e}",
    "\u{feff}",
    "\u{fffd}",
    "\u{ffff}",
    "\u{10ffff}",
    "e\u{301}\u{301}\u{301}",
    "👩‍👩‍👧‍👦",
    "İ",
    "ß",
    "\"",
    "\\",
];

fn spoil_text(json: &mut Json, rng: &mut ChaCha8Rng) {
    let text = match json {
        Json::Text(text) => text,
        Json::Map(fields) => {
            let mut texts: Vec<_> = fields
                .iter_mut()
                .filter_map(|(_, value)| if let Json::Text(text) = value { Some(text) } else { None })
                .collect();
            let count = texts.len();
            if count == 0 {
                return;
            }
            texts.swap_remove(rng.random_range(0..count))
        }
        _ => return,
    };
    match rng.random_range(0..6) {
        0 => text.clear(),
        1 => *text = text.to_uppercase(),
        2 => text.truncate(text.char_indices().nth(rng.random_range(0..8)).map_or(0, |(at, _)| at)),
        3 => {
            let piece = AWKWARD.choose(rng).copied().unwrap_or("x");
            *text = piece.repeat(rng.random_range(1..=MAX_TEXT / 4));
        }
        _ => {
            let at: Vec<_> = text.char_indices().map(|(at, _)| at).collect();
            let at = at.choose(rng).copied().unwrap_or(0);
            text.insert_str(at, AWKWARD.choose(rng).copied().unwrap_or("x"));
        }
    }
}

fn swap_values(json: &mut Json, rng: &mut ChaCha8Rng) {
    let Json::Map(fields) = json else { return replace_value(json, rng) };
    if fields.len() > 1 {
        let (a, b) = (rng.random_range(0..fields.len()), rng.random_range(0..fields.len()));
        let held = fields[a].1.clone();
        fields[a].1 = fields[b].1.clone();
        fields[b].1 = held;
    }
}

fn shuffle_fields(json: &mut Json, rng: &mut ChaCha8Rng) {
    if let Json::Map(fields) = json {
        fields.shuffle(rng);
    }
}

/// Values of every type, at and beyond every bound.
const ODD: [&str; 34] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-1",
    "1",
    "200",
    "201",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e309",
    "-1e309",
    "1e-400",
    "0.1",
    "1.0",
    "1E2",
    "01",
    "+1",
    "0x10",
    "NaN",
    "Infinity",
    "[]",
    "{}",
    "[[]]",
    r#""""#,
    r#""\ud800""#,
    r#""\udc00\ud800""#,
    r#""00000000-0000-0000-0000-000000000000""#,
    r#"{"epoch":"","seq":0}"#,
];

fn odd(rng: &mut ChaCha8Rng) -> Json {
    let text = match rng.random_range(0..10) {
        0 => format!("\"{}\"", "x".repeat(rng.random_range(0..MAX_TEXT))),
        1 => "9".repeat(rng.random_range(1..MAX_TEXT / 2)),
        2 => format!("[{}1]", "1,".repeat(rng.random_range(0..MAX_TEXT / 4))),
        _ => ODD.choose(rng).copied().unwrap_or("null").to_owned(),
    };
    Json::Raw(text)
}

/// What is done to a text without a look at what it means.
fn damaged(mut text: String, rng: &mut ChaCha8Rng) -> String {
    let places: Vec<_> = text.char_indices().map(|(at, _)| at).collect();
    let at = places.choose(rng).copied().unwrap_or(0);
    match rng.random_range(0..8) {
        0 => text.truncate(at),
        1 => text.insert_str(at, AWKWARD.choose(rng).copied().unwrap_or("x")),
        2 => text.insert_str(
            at,
            ["/**/", "//\n", "'", ",", "\\u00", "\t\r\n"].choose(rng).copied().unwrap_or("'"),
        ),
        3 => drop(text.drain(..at)),
        4 => text = format!("\u{feff}{text}"),
        5 => text = format!("{text}{text}"),
        6 => text = format!("[{text}]"),
        _ => text = format!("{}{text}{}", " ".repeat(rng.random_range(0..500)), "\n".repeat(3)),
    }
    text
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_changed_stays_what_it_was() {
        let value = json!({ "t": "send", "id": 7, "body": "\"\\\u{1}é", "after": { "seq": 3, "epoch": null }, "l": [1, []] });
        let text = Json::from(&value).to_string();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn mutations_are_reproducible_bounded_and_of_every_kind() {
        let value = json!({ "t": "send", "id": 7, "room": "r", "body": "hello", "after": { "seq": 3 } });
        let all = |seed| -> Vec<String> {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            (0..3_000).map(|_| mutated(&value, &mut rng)).collect()
        };
        let texts = all(1);
        assert_eq!(texts, all(1));
        assert_ne!(texts, all(2));
        assert!(texts.iter().all(|text| text.len() < 40 * MAX_TEXT));
        let parsed: Vec<_> = texts.iter().map(|text| serde_json::from_str::<Value>(text)).collect();
        let share = |n: usize| n as f64 / texts.len() as f64;
        // Neither all nonsense, which no code behind the parser would see, nor all well-formed.
        let well = share(parsed.iter().filter(|value| value.is_ok()).count());
        assert!((0.3..0.9).contains(&well), "{well} are JSON");
        let kept = share(parsed.iter().flatten().filter(|v| v["t"] == "send").count());
        assert!(kept > 0.15, "{kept} are still a send");
        for (what, is) in [
            ("deep", (|t: &str| t.contains(&"[".repeat(500))) as fn(&str) -> bool),
            ("long", |t| t.len() > 16_384),
            ("doubled", |t| t.matches("\"room\":").count() == 2),
            ("NUL", |t| t.contains("\\u0000")),
            ("huge", |t| t.contains("1e309")),
            ("surrogate", |t| t.contains("\\ud800")),
            ("missing", |t| !t.contains("\"room\"")),
        ] {
            assert!(texts.iter().any(|text| is(text)), "none is {what}");
        }
    }
}
