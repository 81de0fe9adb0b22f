//! Reading a delivery without a JSON parser: a generator that parses every frame would, on a machine that it shares with the
//! server, make that server look slower than one whose frames it reads by their form.

use super::Dialect;
use crate::payload::MIN_BODY_BYTES;

/// How every body begins; see [`crate::payload`].
const BODY: &str = "cl1 ";

/// Finds the body in deliveries that are events: `["NAME",{…,"FIELD":"cl1 …",…}]`. A body has a checksum and no character that
/// JSON escapes, so that nothing else can pass for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quick {
    /// `["NAME",`
    head: String,
    /// `"FIELD":"cl1 `
    field: String,
}

impl Quick {
    /// Of a dialect whose deliveries are events with the body in a field of their only argument.
    pub fn of(dialect: &Dialect) -> Option<Self> {
        let name = dialect.delivery.is.as_str().filter(|_| dialect.delivery.at == "/0")?;
        let field = dialect.delivery.body.strip_prefix("/1/")?;
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.: ".contains(&b));
        (plain(name) && plain(field))
            .then(|| Self { head: format!("[\"{name}\","), field: format!("\"{field}\":\"{BODY}") })
    }

    /// The body of a message; none when a JSON parser must look at it.
    pub fn body<'a>(&self, text: &'a str) -> Option<&'a str> {
        let rest = text.strip_prefix(self.head.as_str())?;
        let at = rest.find(self.field.as_str())? + self.field.len() - BODY.len();
        let rest = rest.get(at..)?;
        let body = rest.get(..rest.find('"')?)?;
        (body.len() >= MIN_BODY_BYTES && !body.contains('\\')).then_some(body)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::payload::Payload;

    fn quick() -> Quick {
        let text = include_str!("../../dialects/socketio.toml");
        Quick::of(&Dialect::parse("socketio", text).unwrap()).unwrap()
    }

    #[test]
    fn the_body_is_the_one_that_a_parser_finds() {
        let body = Payload { run: 1, room: 2, number: 3, intended_ns: 4 }.body(180);
        for event in [
            json!(["said", { "body": body }]),
            json!(["said", { "id": "x", "room": "r1", "ts": 7, "z": "y", "body": body }]),
            json!(["said", { "more": { "body": "none" }, "body": body }]),
        ] {
            let text = event.to_string();
            assert_eq!(quick().body(&text), event.pointer("/1/body").and_then(|b| b.as_str()), "{text}");
        }
    }

    #[test]
    fn what_is_of_another_form_is_left_to_the_parser() {
        let body = Payload { run: 1, room: 2, number: 3, intended_ns: 4 }.body(180);
        for text in [
            json!(["shouted", { "body": body }]).to_string(),
            json!(["said", { "text": body }]).to_string(),
            json!(["said", { "body": "hello" }]).to_string(),
            json!(["said", { "body": format!("{body}\\") }]).to_string(),
            json!(["said", { "body": body }]).to_string().replace("\"body\":", "\"body\": "),
            "[\"said\",{\"body\":\"cl1 ".to_owned(),
            String::new(),
        ] {
            assert_eq!(quick().body(&text), None, "{text}");
        }
        let plain = Dialect::parse("plain", include_str!("../../dialects/plain.toml")).unwrap();
        assert_eq!(Quick::of(&plain), None);
    }
}
