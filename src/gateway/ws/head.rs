//! The heads of frames, as a server sends them (RFC 6455, 5.2): whole, and not masked.

/// The longest head of a frame that is not masked, in bytes.
const MAX_HEAD: usize = 10;

/// The first byte of a whole text frame …
pub(super) const TEXT: u8 = 0x81;
/// … of a close …
pub(super) const CLOSE: u8 = 0x88;
/// … and of a ping.
pub(super) const PING: u8 = 0x89;

/// The bytes before a frame's payload.
#[derive(Clone, Copy, Default)]
pub(super) struct Head {
    bytes: [u8; MAX_HEAD],
    used: u8,
}

impl Head {
    /// Of a payload of so many bytes.
    pub(super) fn new(first: u8, payload: usize) -> Self {
        let mut bytes = [0; MAX_HEAD];
        bytes[0] = first;
        let used = match (u8::try_from(payload), u16::try_from(payload)) {
            (Ok(short @ ..=125), _) => {
                bytes[1] = short;
                2
            }
            (_, Ok(medium)) => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&medium.to_be_bytes());
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..10].copy_from_slice(&(payload as u64).to_be_bytes());
                10
            }
        };
        Self { bytes, used }
    }

    /// The head itself.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.used)]
    }
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;

    use super::*;

    #[test]
    fn a_head_says_how_long_its_frame_is() {
        for length in [0, 1, 125, 126, 65_535, 65_536, 300_000] {
            let head = Head::new(TEXT, length);
            let mut bytes = std::io::Cursor::new(head.bytes());
            let (parsed, said) = FrameHeader::parse(&mut bytes).unwrap().unwrap();
            assert_eq!((said, parsed.is_final, parsed.mask), (length as u64, true, None));
            assert_eq!(usize::try_from(bytes.position()).unwrap(), head.bytes().len());
        }
    }
}
