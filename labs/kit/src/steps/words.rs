//! A typed line as words, by the quoting rules of redis-cli.

/// Splits a line as redis-cli does: blanks separate; `"…"` knows `\n`, `\r`, `\t`, `\b`, `\a`, `\xHH` and `\"`; `'…'` knows only `\'`.
/// Bytes that are no UTF-8 are replaced; a [`Typist`](super::Typist) sends them as they are.
///
/// # Errors
/// What is wrong with the quotes.
pub fn words(line: &str) -> Result<Vec<String>, String> {
    let words = words_bytes(line)?;
    Ok(words.into_iter().map(|word| String::from_utf8_lossy(&word).into_owned()).collect())
}

pub(crate) fn words_bytes(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut rest = line.trim_ascii().as_bytes();
    let mut words = Vec::new();
    while !rest.is_empty() {
        let (word, after) = word(rest)?;
        words.push(word);
        rest = after.trim_ascii_start();
    }
    Ok(words)
}

/// One word and what follows it. Quotes may begin within a word; after the closing one a blank must follow.
fn word(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), String> {
    let mut word = Vec::new();
    while let Some((&byte, after)) = rest.split_first() {
        match byte {
            byte if byte.is_ascii_whitespace() => break,
            b'"' | b'\'' => {
                rest = quoted(byte, after, &mut word)?;
                if rest.first().is_some_and(|next| !next.is_ascii_whitespace()) {
                    return Err("a blank must follow the closing quote".to_owned());
                }
                break;
            }
            byte => word.push(byte),
        }
        rest = after;
    }
    Ok((word, rest))
}

/// What stands up to the closing quote goes into `word`; returns what follows the quote.
fn quoted<'a>(quote: u8, mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], String> {
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (byte, _) if byte == quote => return Ok(after),
            (b'\\', [next, after @ ..]) if quote == b'"' || *next == b'\'' => {
                rest = escaped(*next, after, word);
            }
            (byte, _) => word.push(byte),
        }
    }
    Err(format!("the quote {} is not closed", char::from(quote)))
}

fn escaped<'a>(letter: u8, after: &'a [u8], word: &mut Vec<u8>) -> &'a [u8] {
    let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if let (b'x', [high, low, after @ ..]) = (letter, after)
        && let (Some(high), Some(low)) = (hex(*high), hex(*low))
    {
        word.push(high * 16 + low);
        return after;
    }
    word.push(match letter {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    });
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_split_as_in_redis_cli() {
        let cases: [(&str, &[&str]); 8] = [
            ("", &[]),
            ("  GET   k ", &["GET", "k"]),
            (r#"SET k "a \"b\" \x41\n""#, &["SET", "k", "a \"b\" A\n"]),
            (r"SET k 'it\'s \n'", &["SET", "k", r"it's \n"]),
            (r#"SET k """#, &["SET", "k", ""]),
            (r#"SET pre"fix y""#, &["SET", "prefix y"]),
            ("EVAL \"return {1, 'x'}\" 0", &["EVAL", "return {1, 'x'}", "0"]),
            (r"SET k a\nb", &["SET", "k", r"a\nb"]),
        ];
        for (line, expected) in cases {
            assert_eq!(words(line).unwrap(), expected, "{line}");
        }
        assert_eq!(words_bytes(r#""\xff\x00""#).unwrap(), [b"\xff\x00"]);
        for wrong in ["SET k \"a", "SET k 'a", "SET k \"a\"b", "\"\\"] {
            assert!(words(wrong).is_err(), "{wrong}");
        }
    }
}
