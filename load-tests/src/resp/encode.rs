//! Commands as bytes: arrays of strings.

/// Appends a command.
pub fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    announce(out, b'*', words.len());
    for word in words {
        announce(out, b'$', word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn announce(out: &mut Vec<u8>, sigil: u8, number: usize) {
    const DIGITS: usize = 20;
    let mut text = [0; DIGITS];
    let (mut from, mut left) = (DIGITS, number);
    loop {
        from -= 1;
        text[from] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.push(sigil);
    out.extend_from_slice(&text[from..]);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_arrays_of_strings() {
        let mut out = Vec::new();
        command(&mut out, &[b"SET", &[b'v'; 12], b""]);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$12\r\nvvvvvvvvvvvv\r\n$0\r\n\r\n");
    }
}
