//! A frame: who it is for and when it was due, and then nothing.

/// The shortest frame: everything but the padding.
pub const MIN_BYTES: usize = 32;

/// What a frame says. Instants are those of [`crate::faults::monotonic_ns`], which both processes read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// The burst's number in the run, from 0.
    pub number: u32,
    /// Whose room it is for.
    pub room: u32,
    /// When the burst was due.
    pub intended_ns: u64,
    /// When its first write began.
    pub sent_ns: u64,
}

impl Frame {
    /// A frame without its fields.
    pub fn empty(bytes: usize) -> Vec<u8> {
        (0..bytes.max(MIN_BYTES)).map(|at| b'a' + (at % 26) as u8).collect()
    }

    /// Puts the fields into a frame.
    pub fn put(&self, frame: &mut [u8]) {
        let fields = [
            &self.number.to_le_bytes()[..],
            &self.room.to_le_bytes(),
            &self.intended_ns.to_le_bytes(),
            &self.sent_ns.to_le_bytes(),
        ];
        let mut at = 0;
        for field in fields {
            if let Some(place) = frame.get_mut(at..at + field.len()) {
                place.copy_from_slice(field);
            }
            at += field.len();
        }
    }

    /// Reads them; none of what is too short.
    pub fn of(frame: &[u8]) -> Option<Self> {
        let (number, rest) = frame.split_first_chunk()?;
        let (room, rest) = rest.split_first_chunk()?;
        let (intended, rest) = rest.split_first_chunk()?;
        let (sent, _) = rest.split_first_chunk()?;
        Some(Self {
            number: u32::from_le_bytes(*number),
            room: u32::from_le_bytes(*room),
            intended_ns: u64::from_le_bytes(*intended),
            sent_ns: u64::from_le_bytes(*sent),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_carries_its_fields_and_has_its_length() {
        let frame = Frame { number: 7, room: 9, intended_ns: u64::MAX - 1, sent_ns: 1 << 40 };
        for bytes in [0, MIN_BYTES, 200, 4096] {
            let mut written = Frame::empty(bytes);
            frame.put(&mut written);
            assert_eq!((written.len(), Frame::of(&written)), (bytes.max(MIN_BYTES), Some(frame)));
        }
        assert_eq!(Frame::of(&[0; 23]), None);
    }
}
