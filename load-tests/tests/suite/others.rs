//! Connections that are not there to talk: a storm that breaks and resumes, receivers that poll.

use chatlab_load::{
    plan::{By, Churn, Plan, Receive, Storm},
    verdict::Kind,
};

use crate::{
    driver::{broken, patient, plan, run},
    scripted::{Act, Faults},
};

fn stormy(storm: Storm, faults: Faults) -> chatlab_load::result::RunResult {
    let mut plan = plan(crate::scripted::start(faults), 12, 3, 200.0, 1_000);
    plan.churn = Churn { tokens: vec!["good".into(); 30], per_s: 0.0, storm: Some(storm) };
    plan.limits = patient();
    run(plan)
}

#[test]
fn a_storm_breaks_all_at_once_and_what_was_said_meanwhile_comes_to_all() {
    let storm = Storm { first_ms: 200, every_ms: 400, over_ms: 100 };
    let result = stormy(storm, Faults::default());
    assert_eq!(result.verdict.kind, Kind::Valid, "{:?} {:?}", broken(&result), result.counts.errors);
    // Those who stay are timed; all are in the ledger, with the warm-up's 20 messages: 4 and 10 in each room.
    assert_eq!(result.counts.delivered, 200 * 4);
    assert_eq!((result.ledger.delivered, result.ledger.faults()), ((200 + 20) * (4 + 10), 0));
    assert_eq!((result.counts.reopened, result.counts.reopen_failures), (60, 0), "30 of them, twice");
    assert_eq!((result.latency.reopen.count, result.config.storm), (60, Some(storm)));
}

#[test]
fn a_message_that_one_who_was_away_never_gets_is_lost() {
    // Subscribers are numbered as they join: 4 who stay and 10 of the others in each room, then those who came back, of whom
    // 14 is the first.
    let delivery = |nth, seq| if (nth, seq) == (14, 60) { Act::Drop } else { Act::Deliver };
    let result =
        stormy(Storm { first_ms: 100, every_ms: 0, over_ms: 0 }, Faults { delivery, ..Faults::default() });
    assert_eq!((result.counts.reopened, result.ledger.lost, result.ledger.faults()), (30, 3, 3));
    assert_eq!((result.verdict.kind, broken(&result)), (Kind::Unstable, vec!["ledger_faults"]));
}

#[test]
fn storms_come_when_they_are_due() {
    let churn = |storm| Churn { tokens: vec![String::new(); 4], per_s: 0.0, storm: Some(storm) };
    let ms = |churn: &Churn, me, nth| churn.due_ns(me, nth) / 1_000_000;
    let again = churn(Storm { first_ms: 500, every_ms: 1000, over_ms: 200 });
    assert_eq!([ms(&again, 0, 0), ms(&again, 3, 0), ms(&again, 2, 2)], [500, 650, 2600]);
    let once = churn(Storm { first_ms: 500, every_ms: 0, over_ms: 0 });
    assert_eq!((ms(&once, 3, 0), once.due_ns(3, 1)), (500, u64::MAX));
    assert!(Storm { first_ms: 0, every_ms: 100, over_ms: 100 }.check().is_err());
}

/// 3 rooms with a sender each, and 12 who receive.
fn received(by: By) -> Plan {
    let mut plan = plan(crate::scripted::start(Faults::default()), 15, 3, 60.0, 1_000);
    plan.receive = Some(Receive { by, every_ms: 200, page: 3 });
    plan.schedule.clients = 3;
    plan.limits = patient();
    plan
}

#[test]
fn what_is_polled_is_what_is_pushed_only_later() {
    let pushed = run(received(By::Push));
    let polled = run(received(By::Poll));
    for result in [&pushed, &polled] {
        assert_eq!(result.verdict.kind, Kind::Valid, "{:?} {:?}", broken(result), result.counts.errors);
        assert_eq!((result.counts.sent, result.counts.delivered, result.config.conns), (60, 60 * 4, 12));
        assert_eq!((result.ledger.delivered, result.ledger.faults()), ((60 + 6) * 4, 0));
    }
    assert_eq!(pushed.counts.polls, 0);
    // Four messages of a room come between two looks, and a page has three.
    assert!(polled.counts.polls >= 12 * 4, "{}", polled.counts.polls);
    let median = |result: &chatlab_load::result::RunResult| result.latency.delivery.p50_us.unwrap();
    assert!(median(&polled) > 50_000 && median(&polled) > median(&pushed), "half a pause");
    let both = received(By::Both).check().unwrap_err().to_string();
    assert!(both.contains("push or poll"), "{both}");
}
