//! `*` stands for anything.

/// Whether the whole text fits the pattern, in which `*` stands for any letters or none. ASCII case does not matter.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, fits) in [
            ("SET * NX *", "set lock a nx px 5", true),
            ("SET * NX *", "set lock a nx", false),
            ("*MOVED*", "(error) MOVED 1 h:1", true),
            ("GET k", "GET k", true),
            ("GET k", "GET k2", false),
            ("*", "", true),
            ("a*a", "a", false),
            ("a**b", "ab", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
