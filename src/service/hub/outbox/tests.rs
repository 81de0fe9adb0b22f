use super::{
    super::{frame::FRAME_COST, queue::MAX_BATCH_BYTES},
    *,
};

fn frame(bytes: usize) -> Arc<Frame> {
    Arc::new(Frame::of(vec![b'x'; bytes], Mark::None))
}

#[tokio::test]
async fn frames_leave_in_order_and_in_bounded_batches() {
    let outbox = Arc::new(Outbox::default());
    for bytes in [40_000, 40_001, 40_002] {
        assert!(outbox.push(frame(bytes)));
    }
    let mut batch = Batch::new();
    assert_eq!(outbox.next(&mut batch).await, Step::Write);
    let sizes: Vec<_> = batch.iter().map(|f| f.text.len()).collect();
    assert_eq!(sizes, [40_000, 40_001]);
}

fn presence(room: RoomId, user: UserId, text: &str) -> Arc<Frame> {
    Arc::new(Frame::of(text.to_owned(), Mark::Presence(room, user)))
}

#[tokio::test]
async fn of_a_users_presence_only_the_newest_waits() {
    let outbox = Arc::new(Outbox::default());
    let (room, ada, bob) = (RoomId::new(), UserId::new(), UserId::new());
    for text in ["on", "off", "on again"] {
        assert!(outbox.push(presence(room, ada, text)));
        assert!(outbox.push(frame(5)));
    }
    outbox.push(presence(room, bob, "on"));
    assert_eq!(lock(&outbox.state).bytes, 5 * FRAME_COST + 3 * 5 + "on againon".len());
    let mut batch = Batch::new();
    assert_eq!(outbox.next(&mut batch).await, Step::Write);
    let texts: Vec<_> = batch.iter().map(|f| String::from_utf8_lossy(&f.text).into_owned()).collect();
    assert_eq!(texts, ["xxxxx", "xxxxx", "xxxxx", "on again", "on"]);
    assert_eq!(lock(&outbox.state).bytes, 0);
}

#[tokio::test]
async fn typing_waits_beside_presence_newest_only() {
    let outbox = Arc::new(Outbox::default());
    let (room, ada) = (RoomId::new(), UserId::new());
    outbox.push(presence(room, ada, "online"));
    for text in ["on", "off", "on again"] {
        let mark = Mark::Typing(room, ada);
        outbox.push(Arc::new(Frame::of(text.to_owned(), mark)));
    }
    let mut batch = Batch::new();
    assert_eq!(outbox.next(&mut batch).await, Step::Write);
    let texts: Vec<_> = batch.iter().map(|f| String::from_utf8_lossy(&f.text).into_owned()).collect();
    assert_eq!(texts, ["online", "on again"]);
    assert_eq!(lock(&outbox.state).bytes, 0);
}

#[tokio::test]
async fn presence_neither_starves_nor_outlives_its_room() {
    let outbox = Arc::new(Outbox::default());
    let (room, other, ada) = (RoomId::new(), RoomId::new(), UserId::new());
    outbox.push(presence(room, ada, "gone"));
    outbox.push(presence(other, ada, "on"));
    outbox.push(Arc::new(Frame::of("ok", Mark::Gone(room))));
    outbox.push(frame(MAX_BATCH_BYTES));
    outbox.push(frame(7));
    let mut batch = Batch::new();
    assert_eq!(outbox.next(&mut batch).await, Step::Write);
    let sizes: Vec<_> = batch.iter().map(|f| f.text.len()).collect();
    assert_eq!(sizes, [2, MAX_BATCH_BYTES, 2], "with the first batch, though messages are left");
}

#[tokio::test]
async fn a_full_queue_closes_and_is_freed() {
    let outbox = Arc::new(Outbox::default());
    let mut pushed = 0;
    while outbox.push(frame(1000)) {
        pushed += 1;
    }
    assert_eq!(pushed, MAX_QUEUED_BYTES / (1000 + FRAME_COST));
    assert!(!outbox.push(frame(1)));
    let Step::Close(closing) = outbox.next(&mut Batch::new()).await else { panic!("not closed") };
    assert_eq!((closing.code, closing.close_code), (ErrorCode::SlowConsumer, 4008));
}

#[test]
fn after_an_overflow_nothing_is_queued_by_anybody() {
    const PUSHERS: usize = 4;
    for _ in 0..200 {
        let outbox = Arc::new(Outbox::default());
        while lock(&outbox.state).bytes + 2 * 50_000 < MAX_QUEUED_BYTES {
            outbox.push(frame(50_000));
        }
        std::thread::scope(|scope| {
            for _ in 0..PUSHERS {
                scope.spawn(|| {
                    for _ in 0..8 {
                        outbox.push(frame(50_000));
                    }
                });
            }
        });
        let state = lock(&outbox.state);
        assert!(state.closing.is_some() && state.queue.is_empty(), "{} frames", state.queue.len());
    }
}

#[tokio::test]
async fn closing_waits_for_what_is_queued() {
    let outbox = Arc::new(Outbox::default());
    assert!(outbox.push(frame(10)));
    outbox.close(Closing::new(ErrorCode::GoingAway, "stop"));
    assert!(!outbox.push(frame(10)));
    assert_eq!(outbox.next(&mut Batch::new()).await, Step::Write);
    assert!(matches!(outbox.next(&mut Batch::new()).await, Step::Close(_)));
}
