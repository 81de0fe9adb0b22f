//! A subscriber who stops reading: what it costs, whom, and how it comes back.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
};

use chatlab::{harness::Stack, service::hub::outbox::MAX_QUEUED_BYTES};
use chatlab_kit::{
    ids::RoomId,
    message::{Message, Position},
    servers::Topology,
    wire::{ClientFrame, ErrorCode, ResumeRoom, ServerFrame},
};
use chatlab_load::{
    client::{ClientError, Upgrade, WsClient},
    http::HttpClient,
    result::RunResult,
};
use hyper::Method;
use tokio::time::Instant;

use crate::common::{SOON, chatlab, own};

/// So that the kernel takes little for a client that does not read.
const RECV_BUFFER: u32 = 4096;
/// Of a message's body. A frame has some 400 bytes more.
const BODY: usize = 4_000;
/// What a slow connection may take on the way besides the server's queue: unsent in the kernel, a batch that is being written,
/// and the client's own buffer.
const ON_THE_WAY: usize = 512 * 1024;
/// The most messages until somebody who does not read must have been closed.
const MANY: u64 = ((MAX_QUEUED_BYTES + ON_THE_WAY) / BODY) as u64;
/// By so much the server's memory may grow for one slow reader: its queue, and what the allocator keeps beside.
const GROWTH_BYTES: f64 = 8.0 * 1024.0 * 1024.0;

/// More than a frame about somebody takes, far less than a message here, in bytes.
const A_NOTICE: f64 = 1024.0;

struct Metrics(String);

impl Metrics {
    async fn of(stack: &Stack) -> Self {
        let http = HttpClient::new(&stack.http_url(0));
        Self(http.request(Method::GET, "/metrics", None, None).await.unwrap().text())
    }

    /// A counter is not there before its first count.
    fn get(&self, name: &str) -> f64 {
        let value = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or(0.0)
    }
}

/// One who talks, one who listens, one who stops reading; two rooms.
struct Party {
    stack: Stack,
    rooms: Vec<RoomId>,
    talker: WsClient,
    listener: WsClient,
    slow: WsClient,
    slow_token: String,
    sent: u64,
}

impl Party {
    async fn meet(topology: Topology) -> Self {
        let stack = own(topology, 1).await;
        let made = stack.provision(3, 2).await.unwrap();
        let url = stack.ws_url(0);
        let talker = WsClient::connect(&url, &made.tokens[0]).await.unwrap();
        let listener = WsClient::connect(&url, &made.tokens[1]).await.unwrap();
        let small = Upgrade { recv_buffer: Some(RECV_BUFFER), ..Upgrade::default() };
        let mut slow = WsClient::open(&url, &small).await.unwrap();
        slow.hello(&made.tokens[2]).await.unwrap();
        let (rooms, slow_token) = (made.rooms, made.tokens[2].clone());
        let mut party = Self { stack, rooms, talker, listener, slow, slow_token, sent: 0 };
        for room in party.rooms.clone() {
            for client in [&mut party.talker, &mut party.listener, &mut party.slow] {
                client.join(room, None).await.unwrap();
            }
        }
        party
    }

    /// One message, which the one who listens has at once; the rooms take turns.
    async fn say(&mut self) {
        let room = self.rooms[(self.sent % 2) as usize];
        self.sent += 1;
        let body = format!("{} {}", self.sent, "x".repeat(BODY));
        self.talker.send(room, &format!("c-{}", self.sent), &body).await.unwrap();
        for client in [&mut self.talker, &mut self.listener] {
            assert_eq!(client.next_message(SOON).await.unwrap().draft.body, body);
        }
    }

    /// Talks until the server closes the slow one; how much was highest in its queue.
    async fn say_until_closed(&mut self) -> f64 {
        let mut highest: f64 = 0.0;
        loop {
            self.say().await;
            let seen = Metrics::of(&self.stack).await;
            highest = highest.max(seen.get("chatlab_queued_bytes_highest"));
            if seen.get("chatlab_slow_consumers_total") > 0.0 {
                return highest;
            }
            assert!(self.sent < MANY, "{} messages wait and nobody is closed", self.sent);
        }
    }
}

/// What one has of each room, in the order in which it came.
#[derive(Default)]
struct Book(BTreeMap<RoomId, Vec<Message>>);

impl Book {
    fn note(&mut self, message: Message) {
        self.0.entry(message.draft.room).or_default().push(message);
    }

    fn count(&self) -> u64 {
        self.0.values().map(|messages| messages.len() as u64).sum()
    }

    fn last(&self, room: &RoomId) -> Option<Position> {
        let last = self.0.get(room)?.last()?;
        Some(Position { epoch: last.epoch.clone(), seq: last.seq, id: Some(last.draft.id) })
    }

    /// Every message of both rooms, once and in order.
    fn is_complete(&self, sent: u64) {
        for messages in self.0.values() {
            let seqs: Vec<_> = messages.iter().map(|message| message.seq).collect();
            assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
        }
        assert_eq!(self.count(), sent);
    }
}

/// Reads to the end of a connection: messages, the token of its `bye`, and the close code.
async fn read_on(
    slow: &mut WsClient,
    book: &mut Book,
) -> (Option<(ErrorCode, Vec<ResumeRoom>)>, Option<u16>) {
    let mut bye = None;
    loop {
        match slow.next_event(SOON).await {
            Ok(ServerFrame::Message(message)) => book.note(message),
            Ok(ServerFrame::Bye { code, resume, .. }) => bye = Some((code, resume)),
            Ok(_) => {}
            Err(ClientError::Closed(how)) => return (bye, how.map(|(code, _)| code)),
            Err(other) => panic!("{other}"),
        }
    }
}

/// Comes back after what a token says and reads all that was missed, and one message more.
async fn come_back(party: &mut Party, book: &mut Book, token: Vec<ResumeRoom>) {
    let mut again = WsClient::connect(&party.stack.ws_url(0), &party.slow_token).await.unwrap();
    for ResumeRoom { room, after } in token {
        let id = again.next_request();
        again.send_frame(&ClientFrame::Join { id, room, after: Some(after) }).await.unwrap();
    }
    party.say().await;
    let deadline = Instant::now() + SOON;
    while book.count() < party.sent {
        match again.next_event(deadline - Instant::now()).await.unwrap() {
            ServerFrame::Message(message) => book.note(message),
            ServerFrame::Resync { .. } | ServerFrame::Error { .. } => panic!("can't go on"),
            _ => {}
        }
    }
    // Nothing comes twice: the answer to this comes after everything.
    again.ping().await.unwrap();
    while let Ok(event) = again.next_event(std::time::Duration::ZERO).await {
        assert!(!matches!(event, ServerFrame::Message(_)), "one too many");
    }
}

async fn who_stops_reading_is_closed_and_comes_back_complete_and_costs_the_others_nothing(
    topology: Topology,
) {
    let mut party = Party::meet(topology).await;
    // Buffers and pools of everybody are there.
    for _ in 0..20 {
        party.say().await;
    }
    let before = Metrics::of(&party.stack).await.get("process_resident_memory_bytes");
    let highest = party.say_until_closed().await;
    assert!(highest <= MAX_QUEUED_BYTES as f64 && highest > MAX_QUEUED_BYTES as f64 * 0.9, "{highest}");
    let after = Metrics::of(&party.stack).await;
    // What waited is freed at once, not when it is read. That the user is gone may be on its way to the others.
    let waits = after.get("chatlab_queued_bytes_highest");
    assert!(waits < A_NOTICE, "{waits} bytes wait");
    let grown = after.get("process_resident_memory_bytes") - before;
    assert!(grown <= GROWTH_BYTES, "memory grew by {grown} bytes");
    party.say().await;

    let mut book = Book::default();
    let (bye, code) = read_on(&mut party.slow, &mut book).await;
    assert_eq!(code, Some(ErrorCode::SlowConsumer.close_code()));
    let (code, token) = bye.expect("no bye");
    assert_eq!(code, ErrorCode::SlowConsumer);
    assert!(book.count() > 0 && book.count() < party.sent);
    let exact =
        |room: &RoomId| token.iter().find(|t| t.room == *room).map(|t| t.after.clone()) == book.last(room);
    assert!(token.len() == 2 && party.rooms.iter().all(exact), "{token:?}");
    come_back(&mut party, &mut book, token).await;
    book.is_complete(party.sent);
}

async fn who_reads_on_too_late_finds_no_bye_and_is_complete_from_what_it_has(topology: Topology) {
    let mut party = Party::meet(topology).await;
    party.say().await;
    party.say_until_closed().await;
    // The server waits for its goodbye to be read, but not for ever.
    let deadline = Instant::now() + SOON;
    while Metrics::of(&party.stack).await.get("chatlab_sockets") > 2.0 {
        assert!(Instant::now() < deadline, "never let go");
        party.say().await;
    }
    let mut book = Book::default();
    let (bye, code) = read_on(&mut party.slow, &mut book).await;
    assert_eq!((bye, code), (None, None));
    let token = party.rooms.iter().map(|room| ResumeRoom { room: *room, after: book.last(room).unwrap() });
    let token = token.collect();
    come_back(&mut party, &mut book, token).await;
    book.is_complete(party.sent);
}

/// The scenario's load, much smaller. Whether the machine kept the schedule is not judged here: another program may run.
#[test]
fn a_loaded_server_closes_who_stops_reading_and_the_run_tells_what_became_of_it() {
    let args = "--json load run slow-reader --conns 20 --rate 150 --secs 13 --body-bytes 4000 --no-calibration --accept";
    let output = Command::new(chatlab()).args(args.split_whitespace()).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result: RunResult = serde_json::from_slice(&output.stdout).unwrap();
    let shown = chatlab_load::report::terminal(&result);
    let [reader] = &result.slow[..] else { panic!("{shown}") };
    assert!(reader.came_back() && reader.token_rooms == 10, "{shown}");
    assert_eq!((result.ledger.faults(), result.counts.disconnects), (0, 0), "{shown}");
    assert!(reader.kernel_bytes.is_none_or(|bytes| bytes < ON_THE_WAY as u64), "{shown}");
    assert!(!result.verdict.broken().any(|rule| rule.rule == "slow_readers_resumed"), "{shown}");
    // It is among those who must have everything, and not among those who are timed.
    let (deliveries, sent) = (result.ledger.delivered, result.counts.delivered / 2);
    assert!(deliveries > 3 * sent && result.latency.delivery.count == 2 * sent, "{shown}");
}

crate::on_both!(
    who_stops_reading_is_closed_and_comes_back_complete_and_costs_the_others_nothing,
    who_reads_on_too_late_finds_no_bye_and_is_complete_from_what_it_has,
);
