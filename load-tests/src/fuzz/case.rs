//! A case: what one connection does from its first byte to its last. It follows from the seed and its number alone, so that it
//! can be done again.

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Serialize, Serializer};

use super::{Kind, corpus, frames, json, socketio, upgrade};

/// Where a case aims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Bytes that RFC 6455 does not allow.
    Frames,
    /// Good frames with bad JSON.
    Json,
    /// Bad upgrade requests.
    Upgrade,
    /// Engine.IO's handshake and polling.
    Polling,
    /// Engine.IO and Socket.IO packets on a WebSocket.
    Packets,
}

/// One thing that the connection does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Step {
    /// A good upgrade request to this path; its answer must be 101.
    Open(String),
    /// A good text frame that says a good hello; its answer must be `welcome`.
    Hello,
    /// A good text frame with this text.
    Text(String),
    /// A good binary frame.
    Binary(#[serde(serialize_with = "hex")] Vec<u8>),
    /// These bytes.
    Bytes(#[serde(serialize_with = "hex")] Vec<u8>),
    /// These bytes, one at a time.
    Drip(#[serde(serialize_with = "hex")] Vec<u8>),
    /// These bytes again and again, as fast as they are taken and without reading an answer.
    Flood {
        #[serde(serialize_with = "hex")]
        bytes: Vec<u8>,
        times: u32,
    },
    /// The server must still answer, or have closed: a request of the protocol.
    Fence,
    /// The same with a ping of RFC 6455.
    LowFence,
    /// The server must close with one of these codes.
    Closed(Vec<u16>),
    /// An HTTP status must come, or the end.
    Answered,
    /// This packet must come, or the end.
    Packet(String),
    /// Whatever comes, until nothing comes for a moment.
    Quiet,
    /// Requests at once, each on a connection of its own, and their answers if they come soon.
    Requests(Vec<Request>),
}

/// A request of HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Request {
    /// Its head without lengths and without its end.
    pub head: String,
    pub body: String,
}

/// How the connection goes, if it is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Leave {
    /// With a close frame, which must be answered.
    Close,
    /// Just so.
    Drop,
    /// With a reset.
    Reset,
    /// Closes its half; the server must end the other.
    HalfClose,
    /// Not at all: the server must end it.
    Stay,
}

/// What a connection does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Case {
    pub number: u64,
    pub layer: Layer,
    /// Which of the users and rooms there are, counted round.
    pub user: usize,
    pub steps: Vec<Step>,
    pub leave: Leave,
}

fn hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    serializer.serialize_str(&text)
}

/// Of so many connections that would leave by staying, one does: they hold a client for seconds.
const STAY_ONE_IN: u32 = 400;
/// The most frames of bad JSON in a case: fewer than the server takes from one connection.
const MAX_TEXTS: usize = 12;

impl Case {
    /// The case of that number.
    pub(super) fn nth(kind: Kind, seed: u64, number: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(number);
        let rng = &mut rng;
        let (layer, (steps, leave)) = match (kind, number % 4) {
            (Kind::Ws, 0) => (Layer::Upgrade, upgrade::steps(rng)),
            (Kind::Ws, 1) => (Layer::Frames, frames::steps(rng)),
            (Kind::Ws, _) => (Layer::Json, texts(rng)),
            (Kind::Socketio, 0) => (Layer::Upgrade, socketio::handshake(rng)),
            (Kind::Socketio, 1) => (Layer::Polling, socketio::polling(rng)),
            (Kind::Socketio, _) => (Layer::Packets, socketio::packets(rng)),
        };
        Self { number, layer, user: rng.random_range(0..1_000), steps, leave }
    }

    /// A client of Socket.IO that does nothing wrong.
    pub(super) fn good() -> Self {
        let steps = socketio::let_in().into_iter().chain([Step::Fence]).collect();
        Self { number: u64::MAX, layer: Layer::Packets, user: 0, steps, leave: Leave::Close }
    }

    /// How many inputs it has that are to be wrong somehow, and not only to get there.
    pub(super) fn inputs(&self) -> u64 {
        let is_input = |step: &&Step| {
            matches!(
                step,
                Step::Text(_)
                    | Step::Binary(_)
                    | Step::Bytes(_)
                    | Step::Drip(_)
                    | Step::Flood { .. }
                    | Step::Requests(_)
            )
        };
        self.steps.iter().filter(is_input).count() as u64
    }
}

/// A way to go.
pub(super) fn leave(rng: &mut ChaCha8Rng, in_step: bool) -> Leave {
    if rng.random_ratio(1, STAY_ONE_IN) {
        return Leave::Stay;
    }
    let ways = [Leave::Drop, Leave::Reset, Leave::HalfClose, Leave::Close];
    // A close frame only where the server can know that it begins.
    ways[..if in_step { 4 } else { 3 }].choose(rng).copied().unwrap_or(Leave::Drop)
}

/// Frames with JSON that is wrong somehow, before hello or after it.
fn texts(rng: &mut ChaCha8Rng) -> (Vec<Step>, Leave) {
    let frames = corpus::client_frames();
    let one = |rng: &mut ChaCha8Rng, of: usize| match frames[..of].choose(rng) {
        Some(frame) if rng.random_bool(0.08) => frame.to_string(),
        Some(frame) => json::mutated(frame, rng),
        None => String::new(),
    };
    let mut steps = vec![Step::Open("/ws".to_owned())];
    if rng.random_bool(0.2) {
        // Hello is the first of the corpus, and here the most interesting.
        let of = if rng.random_bool(0.7) { 1 } else { frames.len() };
        steps.push(Step::Text(one(rng, of)));
        steps.push(Step::Quiet);
        return (steps, leave(rng, true));
    }
    steps.push(Step::Hello);
    if rng.random_bool(0.6) {
        steps.push(Step::Text(format!(r#"{{"t":"join","id":1,"room":"{}"}}"#, corpus::ROOM)));
    }
    for _ in 0..rng.random_range(1..=MAX_TEXTS) {
        steps.push(Step::Text(one(rng, frames.len())));
        if rng.random() {
            steps.push(Step::Fence);
        }
    }
    steps.push(Step::Fence);
    (steps, leave(rng, true))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_case_follows_from_seed_and_number_alone() {
        for kind in [Kind::Ws, Kind::Socketio] {
            for number in 0..300 {
                assert_eq!(Case::nth(kind, 7, number), Case::nth(kind, 7, number));
            }
            assert_ne!(Case::nth(kind, 7, 3).steps, Case::nth(kind, 8, 3).steps);
            assert_ne!(Case::nth(kind, 7, 3).steps, Case::nth(kind, 7, 7).steps);
        }
    }

    #[test]
    fn every_layer_has_inputs_and_every_way_to_go() {
        for kind in [Kind::Ws, Kind::Socketio] {
            let cases: Vec<_> = (0..4_000).map(|number| Case::nth(kind, 1, number)).collect();
            let layers: BTreeSet<_> = cases.iter().map(|case| case.layer).collect();
            assert_eq!(layers.len(), 3);
            assert!(cases.iter().all(|case| case.inputs() > 0 && case.inputs() <= 80));
            for way in [Leave::Close, Leave::Drop, Leave::Reset, Leave::HalfClose, Leave::Stay] {
                assert!(cases.iter().any(|case| case.leave == way), "{kind:?}: nobody goes by {way:?}");
            }
        }
    }
}
