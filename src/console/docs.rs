//! What the server says about its commands: `COMMAND DOCS` (Redis 7.0).

use std::collections::BTreeMap;

use chatlab_kit::LabResult;
use chatlab_kit::redis::Redis;
use redis::Value;

/// No syntax is printed longer, in characters.
const SYNTAX_CHARS_MAX: usize = 400;
/// No argument is nested deeper.
const DEPTH_MAX: usize = 8;

/// One command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandDoc {
    /// What it does.
    pub summary: String,
    /// Its documented cost.
    pub complexity: String,
    /// The version that brought it.
    pub since: String,
    /// Its arguments in order, each as it is written: `key`, `[EX seconds]`.
    pub arguments: Vec<String>,
}

/// All commands, by name in capitals; of a container command also `XGROUP CREATE`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandDocs {
    commands: BTreeMap<String, CommandDoc>,
}

impl CommandDocs {
    /// Asks the server. One that has no `COMMAND DOCS` gives names only.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ask(redis: &Redis) -> LabResult<Self> {
        let mut docs = Self::default();
        let Some((_, mut node)) = redis.each_node().await?.into_iter().next() else { return Ok(docs) };
        let told: Result<Value, _> = redis::cmd("COMMAND").arg("DOCS").query_async(&mut node).await;
        match told {
            Ok(value) => docs.add_all("", &value),
            Err(error) if error.is_io_error() => return Err(error.into()),
            Err(_) => {
                let names: Vec<String> = redis::cmd("COMMAND").arg("LIST").query_async(&mut node).await?;
                docs.commands
                    .extend(names.into_iter().map(|name| (name.to_uppercase(), CommandDoc::default())));
            }
        }
        Ok(docs)
    }

    fn add_all(&mut self, container: &str, commands: &Value) {
        for (name, doc) in pairs(commands) {
            // Subcommands come as `xgroup|create`.
            let name = name.rsplit('|').next().unwrap_or_default().to_uppercase();
            let name = if container.is_empty() { name } else { format!("{container} {name}") };
            let mut told = CommandDoc::default();
            for (field, value) in pairs(doc) {
                match field.as_str() {
                    "summary" => told.summary = text(value),
                    "complexity" => told.complexity = text(value),
                    "since" => told.since = text(value),
                    "arguments" => told.arguments = items(value).iter().map(|arg| argument(arg, 0)).collect(),
                    "subcommands" if container.is_empty() => self.add_all(&name, value),
                    _ => {}
                }
            }
            self.commands.insert(name, told);
        }
    }

    /// The command that `words` begin with and how many of them name it.
    pub fn find(&self, words: &[String]) -> Option<(&str, &CommandDoc, usize)> {
        let name = |n: usize| words.get(..n).map(|words| words.join(" ").to_uppercase());
        [2, 1].into_iter().find_map(|n| {
            let (name, doc) = self.commands.get_key_value(&name(n)?)?;
            Some((name.as_str(), doc, n))
        })
    }

    /// The names that begin with `start`, whatever its case.
    pub fn starting_with(&self, start: &str) -> impl Iterator<Item = &str> {
        let start = start.to_uppercase();
        self.commands.keys().map(String::as_str).filter(move |name| name.starts_with(&start))
    }

    /// What may follow the words typed so far; empty for an unknown command.
    pub fn remaining(&self, words: &[String]) -> String {
        let Some((_, doc, named)) = self.find(words) else { return String::new() };
        let mut typed = words.len() - named;
        let mut rest = doc.arguments.iter();
        // Plain arguments go one by one; from the first option or repetition on all that remains is shown.
        let mut left = Vec::new();
        for argument in rest.by_ref() {
            if typed == 0 || argument.contains([' ', '[']) {
                left.push(argument.as_str());
                break;
            }
            typed -= 1;
        }
        left.extend(rest.map(String::as_str));
        shortened(&left.join(" "))
    }
}

impl CommandDoc {
    /// All its arguments.
    pub fn syntax(&self) -> String {
        shortened(&self.arguments.join(" "))
    }
}

fn shortened(text: &str) -> String {
    crate::learner::compare::cut(text, SYNTAX_CHARS_MAX)
}

/// One argument as redis-cli writes it.
fn argument(told: &Value, depth: usize) -> String {
    let (mut name, mut token, mut kind) = (String::new(), String::new(), String::new());
    let (mut optional, mut multiple) = (false, false);
    let mut nested = Vec::new();
    for (field, value) in pairs(told) {
        match field.as_str() {
            "name" => name = text(value),
            "token" => token = text(value),
            "type" => kind = text(value),
            "flags" => {
                let flags: Vec<_> = items(value).iter().map(text).collect();
                optional = flags.iter().any(|flag| flag == "optional");
                multiple = flags.iter().any(|flag| flag.starts_with("multiple"));
            }
            "arguments" if depth < DEPTH_MAX => {
                nested = items(value).iter().map(|arg| argument(arg, depth + 1)).collect();
            }
            _ => {}
        }
    }
    let mut written = match kind.as_str() {
        "oneof" => nested.join("|"),
        "block" => nested.join(" "),
        "pure-token" => String::new(),
        _ => name,
    };
    if multiple {
        written = format!("{written} [{written} ...]");
    }
    let written = [token, written].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    if optional { format!("[{written}]") } else { written }
}

/// The pairs of a map, which RESP2 writes as a flat array.
fn pairs(value: &Value) -> Vec<(String, &Value)> {
    match value {
        Value::Map(pairs) => pairs.iter().map(|(key, value)| (text(key), value)).collect(),
        Value::Array(flat) => flat.chunks_exact(2).map(|pair| (text(&pair[0]), &pair[1])).collect(),
        _ => Vec::new(),
    }
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) | Value::Set(items) => items,
        _ => &[],
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn arg(name: &str, kind: &str, more: &[(&str, Value)]) -> Value {
        let mut flat = vec![bulk("name"), bulk(name), bulk("type"), bulk(kind)];
        for (field, value) in more {
            flat.extend([bulk(field), value.clone()]);
        }
        Value::Array(flat)
    }

    fn docs() -> CommandDocs {
        let flags = |flag: &str| ("flags", Value::Array(vec![Value::SimpleString(flag.into())]));
        let condition = Value::Array(vec![
            arg("nx", "pure-token", &[("token", bulk("NX"))]),
            arg("xx", "pure-token", &[("token", bulk("XX"))]),
        ]);
        let pair = Value::Array(vec![arg("score", "double", &[]), arg("member", "string", &[])]);
        let zadd = Value::Array(vec![
            bulk("summary"),
            bulk("Add members"),
            bulk("arguments"),
            Value::Array(vec![
                arg("key", "key", &[]),
                arg("condition", "oneof", &[flags("optional"), ("arguments", condition)]),
                arg("score_member", "block", &[flags("multiple"), ("arguments", pair)]),
            ]),
        ]);
        let create = Value::Array(vec![bulk("summary"), bulk("Create a group")]);
        let xgroup =
            Value::Array(vec![bulk("subcommands"), Value::Array(vec![bulk("xgroup|create"), create])]);
        let mut docs = CommandDocs::default();
        docs.add_all("", &Value::Array(vec![bulk("zadd"), zadd, bulk("xgroup"), xgroup]));
        docs
    }

    fn remaining(line: &str) -> String {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        docs().remaining(&words)
    }

    #[test]
    fn arguments_are_written_as_redis_cli_writes_them() {
        assert_eq!(remaining("zadd"), "key [NX|XX] score member [score member ...]");
        assert_eq!(remaining("ZADD k"), "[NX|XX] score member [score member ...]");
        assert_eq!(remaining("ZADD k 1 a"), "[NX|XX] score member [score member ...]");
        assert_eq!(remaining("nonsense"), "");
    }

    #[test]
    fn subcommands_are_found_under_their_container() {
        let docs = docs();
        let words = ["xgroup".to_owned(), "create".to_owned(), "s".to_owned()];
        let (name, doc, words) = docs.find(&words).unwrap();
        assert_eq!((name, doc.summary.as_str(), words), ("XGROUP CREATE", "Create a group", 2));
        assert_eq!(docs.starting_with("xg").collect::<Vec<_>>(), ["XGROUP", "XGROUP CREATE"]);
    }
}
