//! Values as bytes.

use super::{Reply, Text};

/// Appends a value that nothing was cut off from.
pub(crate) fn encode(value: &Reply, out: &mut Vec<u8>) {
    match value {
        Reply::Nil(b'_') => out.extend_from_slice(b"_\r\n"),
        Reply::Nil(sigil) => line(out, *sigil, b"-1"),
        Reply::Simple(text) => line(out, b'+', &text.bytes),
        Reply::Error(text) => line(out, b'-', &text.bytes),
        Reply::Int(number) => line(out, b':', number.to_string().as_bytes()),
        Reply::Scalar(sigil, text) => line(out, *sigil, text),
        Reply::Bulk(text) => body(out, b'$', text),
        Reply::Verbatim(text) => body(out, b'=', text),
        Reply::Items(kind, items) => {
            let count = if kind.sigil() == b'%' { items.len / 2 } else { items.len };
            line(out, kind.sigil(), count.to_string().as_bytes());
            for item in &items.items {
                encode(item, out);
            }
        }
    }
}

/// A command as clients send it.
pub(crate) fn command(words: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut out = Vec::new();
    line(&mut out, b'*', words.len().to_string().as_bytes());
    for word in words {
        let word = word.as_ref();
        line(&mut out, b'$', word.len().to_string().as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn line(out: &mut Vec<u8>, sigil: u8, text: &[u8]) {
    out.push(sigil);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn body(out: &mut Vec<u8>, sigil: u8, text: &Text) {
    line(out, sigil, text.bytes.len().to_string().as_bytes());
    out.extend_from_slice(&text.bytes);
    out.extend_from_slice(b"\r\n");
}
