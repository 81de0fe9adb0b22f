//! Texts with places that are filled in: `Bearer ${token}`.

use std::fmt::Write;

/// The longest template, in bytes.
pub const TEMPLATE_MAX: usize = 64 * 1024;

/// A text with places, taken apart once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// A text, and the name of the place behind it.
    places: Vec<(String, String)>,
    tail: String,
}

impl Template {
    /// Takes a text apart. Its places must be among the known ones.
    ///
    /// # Errors
    /// One sentence: a place that is not closed or not known, or a text over [`TEMPLATE_MAX`].
    pub fn parse(text: &str, known: &[&str]) -> Result<Self, String> {
        if text.len() > TEMPLATE_MAX {
            return Err(format!("a template has at most {TEMPLATE_MAX} bytes"));
        }
        let (mut places, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) =
                after.split_once('}').ok_or_else(|| format!("`${{` without `}}` in `{text}`"))?;
            if !known.contains(&name) {
                return Err(format!(
                    "`${{{name}}}` in `{text}` is not known; there are: {}",
                    known.join(", ")
                ));
            }
            places.push((before.to_owned(), name.to_owned()));
            rest = after;
        }
        Ok(Self { places, tail: rest.to_owned() })
    }

    /// Whether a place occurs.
    pub fn has(&self, name: &str) -> bool {
        self.places.iter().any(|(_, place)| place == name)
    }

    /// The text with its places filled in. A place without a value stays empty.
    pub fn fill(&self, values: &[(&str, &dyn std::fmt::Display)]) -> String {
        let mut out = String::with_capacity(self.tail.len() + 64);
        for (text, place) in &self.places {
            out.push_str(text);
            if let Some((_, value)) = values.iter().find(|(name, _)| name == place) {
                // Writing into a string does not fail.
                let _ = write!(out, "{value}");
            }
        }
        out.push_str(&self.tail);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_and_unknown_ones_are_named() {
        let template =
            Template::parse("42[\"msg\",{\"room\":\"${room}\",\"n\":${n}}]", &["room", "n"]).unwrap();
        assert!(template.has("room") && !template.has("body"));
        assert_eq!(template.fill(&[("n", &7), ("room", &"r1")]), "42[\"msg\",{\"room\":\"r1\",\"n\":7}]");
        assert_eq!(Template::parse("plain", &[]).unwrap().fill(&[]), "plain");
        for (text, named) in [("${rom}", "rom"), ("a ${room", "without")] {
            assert!(Template::parse(text, &["room"]).unwrap_err().contains(named));
        }
        assert!(Template::parse(&"x".repeat(TEMPLATE_MAX + 1), &[]).is_err());
    }
}
