//! Whether a JSON document is as a published schema says, for tests.
//!
//! As much of JSON Schema 2020-12 as our own schemas use, and stricter in one thing: what is in a document must also be
//! described. A keyword that this does not know is a complaint, not a pass.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Keywords that check nothing by themselves.
const NOTES: [&str; 9] =
    ["$schema", "$id", "$defs", "$comment", "title", "description", "default", "format", "examples"];
/// Keywords that are looked at.
const CHECKED: [&str; 17] = [
    "$ref",
    "anyOf",
    "oneOf",
    "const",
    "enum",
    "type",
    "items",
    "properties",
    "required",
    "additionalProperties",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "pattern",
];
/// The bound in bytes of UTF-8, for which JSON Schema has no keyword.
const MAX_BYTES: &str = "x-max-bytes";

/// A published schema.
#[derive(Debug, Clone)]
pub struct Schema(Value);

impl Schema {
    /// From its file.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn read(text: &str) -> serde_json::Result<Self> {
        Ok(Self(serde_json::from_str(text)?))
    }

    /// What in `value` is not as the schema says, a sentence each; paths begin with `name`.
    pub fn check(&self, value: &Value, name: &str) -> Vec<String> {
        self.look(&self.0, value, name, true)
    }

    /// The same for one of its definitions.
    pub fn check_as(&self, definition: &str, value: &Value, name: &str) -> Vec<String> {
        match self.0["$defs"].get(definition) {
            Some(schema) => self.look(schema, value, name, true),
            None => vec![format!("the schema has no definition {definition}")],
        }
    }

    /// The whole document.
    pub fn document(&self) -> &Value {
        &self.0
    }

    /// `whole`: this schema, and no other one beside it, says what may be in the value.
    fn look(&self, schema: &Value, value: &Value, at: &str, whole: bool) -> Vec<String> {
        let Some(keywords) = schema.as_object() else { return Vec::new() };
        let mut wrong = Vec::new();
        for keyword in keywords.keys() {
            let known = NOTES.contains(&keyword.as_str()) || CHECKED.contains(&keyword.as_str());
            if !known && !keyword.starts_with("x-") {
                wrong.push(format!("the check does not know the keyword {keyword}"));
            }
        }
        let alone = whole && !keywords.contains_key("properties");
        if let Some(name) = schema["$ref"].as_str() {
            match self.0.pointer(name.trim_start_matches('#')) {
                Some(there) => wrong.extend(self.look(there, value, at, alone)),
                None => wrong.push(format!("{name} leads nowhere")),
            }
        }
        for (keyword, exactly) in [("anyOf", false), ("oneOf", true)] {
            if let Some(branches) = schema[keyword].as_array() {
                wrong.extend(self.choose(branches, value, at, alone, exactly));
            }
        }
        if !is_among(schema, value) {
            wrong.push(format!("{at} is none of its values"));
            return wrong;
        }
        let types = types(schema);
        if !types.is_empty() && !types.iter().any(|name| is_a(name, value)) {
            wrong.push(format!("{at} is no {}", types.join(" or ")));
            return wrong;
        }
        wrong.extend(bounds(schema, value).into_iter().map(|what| format!("{at} {what}")));
        for (nth, item) in value.as_array().into_iter().flatten().enumerate() {
            wrong.extend(self.look(&schema["items"], item, &format!("{at}[{nth}]"), true));
        }
        if let Some(fields) = value.as_object()
            && (schema["properties"].is_object() || schema["additionalProperties"].is_object())
        {
            wrong.extend(self.fields(schema, fields, at, whole));
        }
        wrong
    }

    /// One of several, or exactly one. What is wrong is told for the one that is meant by its `t`, where one is.
    fn choose(&self, branches: &[Value], value: &Value, at: &str, whole: bool, exactly: bool) -> Vec<String> {
        let looked: Vec<_> = branches.iter().map(|one| self.look(one, value, at, whole)).collect();
        let fits = looked.iter().filter(|wrong| wrong.is_empty()).count();
        if fits == 1 || fits > 1 && !exactly {
            return Vec::new();
        }
        if fits > 1 {
            return vec![format!("{at} is {fits} of what it may be, and should be one")];
        }
        let meant = |one: &Value| value.get("t").is_some_and(|t| one["properties"]["t"]["const"] == *t);
        match branches.iter().position(meant) {
            Some(place) => looked.into_iter().nth(place).unwrap_or_default(),
            None => vec![format!("{at} is none of what it may be")],
        }
    }

    fn fields(&self, schema: &Value, fields: &Map<String, Value>, at: &str, whole: bool) -> Vec<String> {
        let mut wrong = Vec::new();
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(required) {
                wrong.push(format!("{at}.{required} is missing"));
            }
        }
        let mut described = BTreeSet::new();
        self.described(schema, &mut described);
        for (name, field) in fields {
            let others = schema.get("additionalProperties").filter(|others| others.is_object());
            if let Some(schema) = schema["properties"].get(name).or(others) {
                wrong.extend(self.look(schema, field, &format!("{at}.{name}"), true));
            } else if whole && !described.contains(name.as_str()) {
                wrong.push(format!("{at}.{name} is not described: add it to the schema"));
            }
        }
        wrong
    }

    /// The fields of a schema and of what it refers to.
    fn described<'a>(&'a self, schema: &'a Value, names: &mut BTreeSet<&'a str>) {
        names.extend(schema["properties"].as_object().into_iter().flat_map(Map::keys).map(String::as_str));
        let there = schema["$ref"].as_str().and_then(|name| self.0.pointer(name.trim_start_matches('#')));
        if let Some(there) = there {
            self.described(there, names);
        }
    }
}

fn is_among(schema: &Value, value: &Value) -> bool {
    schema.get("const").is_none_or(|only| only == value)
        && schema["enum"].as_array().is_none_or(|all| all.contains(value))
}

fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "null" => value.is_null(),
        _ => false,
    }
}

/// Which bounds a text, a number or a list breaks.
fn bounds(schema: &Value, value: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut hold = |keyword: &str, holds: &dyn Fn(&Value) -> bool, what: &str| {
        if let Some(bound) = schema.get(keyword)
            && !holds(bound)
        {
            wrong.push(format!("{what} {bound}"));
        }
    };
    if let Some(text) = value.as_str() {
        let (chars, bytes) = (text.chars().count() as u64, text.len() as u64);
        hold("minLength", &|least| least.as_u64().is_some_and(|n| chars >= n), "has fewer characters than");
        hold("maxLength", &|most| most.as_u64().is_some_and(|n| chars <= n), "has more characters than");
        hold(MAX_BYTES, &|most| most.as_u64().is_some_and(|n| bytes <= n), "has more bytes than");
        hold("pattern", &|pattern| pattern.as_str().is_some_and(|p| fits(p, text)), "is not like");
    }
    if let Some(number) = value.as_f64() {
        hold("minimum", &|least| least.as_f64().is_some_and(|n| number >= n), "is less than");
        hold("maximum", &|most| most.as_f64().is_some_and(|n| number <= n), "is more than");
    }
    if let Some(items) = value.as_array().map(|items| items.len() as u64) {
        hold("minItems", &|least| least.as_u64().is_some_and(|n| items >= n), "has fewer items than");
        hold("maxItems", &|most| most.as_u64().is_some_and(|n| items <= n), "has more items than");
    }
    wrong
}

/// Patterns of single characters and `[…]` classes, each with an optional `{n}` or `{least,most}`, between `^` and `$`. None of ours
/// needs to look back. Anything else fits nothing.
fn fits(pattern: &str, text: &str) -> bool {
    let whole = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$'));
    let Some(mut pattern) = whole else { return false };
    let mut text = text.chars().peekable();
    while let Some((class, rest)) = next_class(pattern) {
        let Some((least, most, rest)) = next_count(rest) else { return false };
        pattern = rest;
        let mut count = 0;
        while count < most && text.next_if(|c| class.iter().any(|(a, z)| (a..=z).contains(&c))).is_some() {
            count += 1;
        }
        if count < least {
            return false;
        }
    }
    pattern.is_empty() && text.next().is_none()
}

/// The ranges of one character of a pattern, and what follows it.
fn next_class(pattern: &str) -> Option<(Vec<(char, char)>, &str)> {
    let mut chars = pattern.chars();
    match chars.next()? {
        '[' => {
            let (inside, rest) = chars.as_str().split_once(']')?;
            let inside: Vec<char> = inside.chars().collect();
            let (mut ranges, mut left) = (Vec::new(), inside.as_slice());
            // A hyphen at the end stands for itself.
            while let [first, after @ ..] = left {
                let last = if let ['-', last, ..] = after { last } else { first };
                ranges.push((*first, *last));
                left = if let ['-', _, after @ ..] = after { after } else { after };
            }
            Some((ranges, rest))
        }
        '\\' => chars.next().map(|c| (vec![(c, c)], chars.as_str())),
        c if "(){}*+?|.^$".contains(c) => None,
        c => Some((vec![(c, c)], chars.as_str())),
    }
}

fn next_count(pattern: &str) -> Option<(usize, usize, &str)> {
    let Some(rest) = pattern.strip_prefix('{') else { return Some((1, 1, pattern)) };
    let (count, rest) = rest.split_once('}')?;
    let (least, most) = count.split_once(',').unwrap_or((count, count));
    Some((least.parse().ok()?, most.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patterns_fit_the_whole_text_or_not() {
        for (pattern, text, fit) in [
            ("^[a-f0-9]{4}-x$", "00af-x", true),
            ("^[a-f0-9]{4}-x$", "00ag-x", false),
            ("^[a-f0-9]{4}-x$", "00af-xx", false),
            ("^[A-Z._-]{1,3}$", "A-.", true),
            ("^[A-Z._-]{1,3}$", "", false),
            ("^[A-Z._-]{1,3}$", "AAAA", false),
            (r"^a\.b$", "a.b", true),
            (r"^a\.b$", "axb", false),
            ("^(a|b)$", "a", false),
            ("a", "a", false),
        ] {
            assert_eq!(fits(pattern, text), fit, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let schema = Schema(json!({
            "type": "object",
            "properties": {
                "n": { "type": "integer", "minimum": 1 },
                "words": { "type": "object", "additionalProperties": { "type": "string" } },
                "list": { "type": "array", "maxItems": 1, "items": { "$ref": "#/$defs/Two" } },
                "what": { "oneOf": [
                    { "properties": { "t": { "const": "a" }, "x": { "type": "string" } }, "required": ["t", "x"] },
                    { "$ref": "#/$defs/Two", "properties": { "t": { "const": "b" } }, "required": ["t"] },
                ] },
            },
            "required": ["n"],
            "$defs": { "Two": {
                "type": "object",
                "properties": { "two": { "type": "string", "maxLength": 2, "x-max-bytes": 3 } },
                "required": ["two"],
            } },
        }));
        for (value, wrong) in [
            (json!({ "n": 1, "list": [{ "two": "ab" }], "what": { "t": "a", "x": "" } }), vec![]),
            (json!({ "n": 1, "what": { "t": "b", "two": "é" } }), vec![]),
            (json!({ "n": 1, "words": { "a": "", "b": 2 } }), vec!["it.words.b is no string"]),
            (json!([]), vec!["it is no object"]),
            (json!({}), vec!["it.n is missing"]),
            (json!({ "n": 0 }), vec!["it.n is less than 1"]),
            (json!({ "n": 1.5 }), vec!["it.n is no integer"]),
            (json!({ "n": 1, "m": 1 }), vec!["it.m is not described: add it to the schema"]),
            (
                json!({ "n": 1, "list": [{ "two": "abc" }] }),
                vec!["it.list[0].two has more characters than 2"],
            ),
            (json!({ "n": 1, "list": [{ "two": "éé" }] }), vec!["it.list[0].two has more bytes than 3"]),
            (
                json!({ "n": 1, "list": [{ "two": "" }, { "two": "" }] }),
                vec!["it.list has more items than 1"],
            ),
            (json!({ "n": 1, "what": { "t": "a", "x": 1 } }), vec!["it.what.x is no string"]),
            (json!({ "n": 1, "what": { "t": "b" } }), vec!["it.what.two is missing"]),
            (
                json!({ "n": 1, "what": { "t": "b", "two": "", "x": 1 } }),
                vec!["it.what.x is not described: add it to the schema"],
            ),
            (json!({ "n": 1, "what": { "t": "c" } }), vec!["it.what is none of what it may be"]),
        ] {
            assert_eq!(schema.check(&value, "it"), wrong, "{value}");
        }
        let odd = Schema(json!({ "not": {} }));
        assert_eq!(odd.check(&json!(1), "it"), ["the check does not know the keyword not"]);
        assert_eq!(odd.check_as("Nothing", &json!(1), "it"), ["the schema has no definition Nothing"]);
    }
}
