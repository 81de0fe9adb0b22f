//! Runs with faults against the scripted server: every message must be explained, whatever the server does.

use chatlab_load::{
    faults::{Fact, Injected, Told, monotonic_ns},
    plan::Progress,
    report,
    result::RunResult,
    verdict::Kind,
    ws::generate_told,
};

use crate::{
    driver::{ONE_AT_A_TIME, broken, plan},
    recording::against_schema,
    scripted::{Act, Faults, start},
};

/// Milliseconds of the window before the fault, and of the fault.
const AT_MS: u64 = 2_000;
const LONG_MS: u64 = 300;

/// 12 connections in 3 rooms of 4, 200 messages a second for 5 s; a fault that somebody says was done at 2 s.
fn faulted(server: Faults, proved: bool) -> RunResult {
    let plan = plan(start(server), 12, 3, 200.0, 5_000);
    let plan = plan.with_faults(vec!["kill-pubsub@2".parse().unwrap()]).unwrap();
    let told = Told::default();
    let mut tell = |progress: Progress| {
        if let Progress::Begins { monotonic_ns: window_ns } = progress {
            assert!(window_ns > monotonic_ns(), "told before it begins");
            let began_ns = window_ns + AT_MS * 1_000_000;
            let ended_ns = began_ns + LONG_MS * 1_000_000;
            let facts = vec![Fact::new("connections ended", 3)];
            told.push(Injected { nth: 0, target: "all".into(), began_ns, ended_ns, proved, facts });
        }
    };
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let result = generate_told(plan, &told, &mut tell).unwrap();
    println!("{}", report::terminal(&result));
    assert_eq!(against_schema(&serde_json::to_value(&result).unwrap()), Vec::<String>::new());
    result
}

#[test]
fn a_broken_connection_resumes_and_sends_again_what_was_not_answered() {
    // Each room closes the connection that sends its 147th message, about 2.1 s into the window, and does not ack it.
    let result = faulted(Faults { hang_up_at: Some(147), ..Faults::default() }, true);
    let sums = result.accounts.unwrap();
    assert!(sums.explained(), "{sums:?}");
    assert_eq!((result.counts.disconnects, sums.resumed, sums.not_resumed), (3, 3, 0));
    assert_eq!((sums.intended, sums.acked, sums.delivered_to_all), (1_000, 1_000, 1_000));
    assert_eq!(
        (sums.retried, sums.dup_acks, sums.stored_twice),
        (3, 3, 0),
        "stored at the first try, told at the second"
    );
    assert_eq!((result.ledger.lost, result.ledger.duplicated, result.ledger.reordered), (0, 0, 0));
    let fault = &result.faults[0];
    assert_eq!((fault.at_ms, fault.ended_ms, fault.injected), (2_000.0, Some(2_300.0), true));
    assert_eq!(fault.errors.values().sum::<u64>(), 3, "{:?}", fault.errors);
    assert!(fault.recovered_ms.is_some());
    assert_eq!(result.headline, None, "no headline of two states");
    // The machine may be busy; what the fault broke is no reason all the same.
    for rule in
        ["disconnects", "ledger_faults", "messages_explained", "delivered_or_told", "unanswered_sends"]
    {
        assert!(!broken(&result).contains(&rule), "{rule}");
    }
    let text = report::terminal(&result);
    assert!(text.lines().all(|line| line.chars().count() <= 80));
    for shown in ["judged apart from kill-pubsub", "Where every message went", "not explained"] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
}

#[test]
fn a_refusal_that_may_pass_is_tried_again_and_judged_where_no_fault_was() {
    let result = faulted(Faults { refuse_every: Some(10), ..Faults::default() }, true);
    let sums = result.accounts.unwrap();
    assert!(sums.explained() && sums.retried > 50, "{sums:?}");
    assert_eq!((sums.acked, sums.refused, sums.stored_twice), (1_000, 0, 0));
    assert!(broken(&result).contains(&"error_frames"));
}

#[test]
fn a_message_that_a_subscriber_never_got_is_found_in_the_history() {
    let drop = |nth, seq| if (nth, seq) == (1, 160) { Act::Drop } else { Act::Deliver };
    let result = faulted(Faults { delivery: drop, ..Faults::default() }, true);
    let sums = result.accounts.unwrap();
    assert!(sums.explained(), "{sums:?}");
    assert_eq!((sums.missed_in_history, sums.missed_and_gone, sums.acked_and_gone), (3, 0, 0));
    assert_eq!((sums.delivered_to_all, result.ledger.lost), (997, 3));
    assert!(broken(&result).contains(&"delivered_or_told"));
    assert_eq!(result.verdict.kind, Kind::Unstable);
}

#[test]
fn a_fault_without_proof_makes_no_valid_run() {
    let result = faulted(Faults::default(), false);
    assert!(broken(&result).contains(&"faults_injected"));
    assert!(!result.verdict.is_valid());
}
