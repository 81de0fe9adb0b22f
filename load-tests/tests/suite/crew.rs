//! One run by two generators, here as threads, against the scripted server.

use std::sync::mpsc::{Sender, channel};

use chatlab_load::{
    crew::{
        Order, Part,
        clock::unix_ns,
        conductor::{Conductor, Next},
        merge,
        merge::Origin,
        shares,
    },
    plan::{Plan, Progress},
    result::RunResult,
    verdict::Kind,
    ws::generate_part,
};

use crate::{
    driver::{ONE_AT_A_TIME, broken, plan},
    scripted::{Act, Faults},
};

/// Between the order to begin and the beginning, in nanoseconds.
const LEAD_NS: u64 = 300_000_000;

/// Carries out all shares at once and puts the parts together, as processes would.
fn run(plan: &Plan, generators: usize) -> (RunResult, Vec<Part>) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let origin_ns = unix_ns();
    let (tell, told) = channel();
    let mut orders: Vec<Sender<Order>> = Vec::new();
    let mut threads = Vec::new();
    for (index, share) in shares(plan, generators, 7, origin_ns).unwrap().into_iter().enumerate() {
        let (give, given) = channel();
        orders.push(give);
        let tell = tell.clone();
        threads.push(std::thread::spawn(move || {
            generate_part(share, &mut |progress| _ = tell.send((index, progress)), &given).unwrap()
        }));
    }
    drop(tell);
    let mut conductor = Conductor::new(generators);
    let mut phases: Vec<Progress> = Vec::new();
    for (index, progress) in told {
        let next: Next = conductor.see(index, &progress);
        phases.push(conductor.whole());
        if let Some(order) = Conductor::order(next, unix_ns() - origin_ns + LEAD_NS) {
            orders.iter().for_each(|to| to.send(order).unwrap());
        }
    }
    assert!(phases.iter().any(|p| matches!(p, Progress::Measuring { .. })));
    let parts: Vec<Part> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let here = Origin { place: "here".into(), clock: None };
    (merge(parts.clone(), &vec![here; generators]).unwrap(), parts)
}

#[test]
fn two_generators_give_the_result_of_one_with_every_delivery_in_it() {
    let server = crate::scripted::start(Faults::default());
    let plan = plan(server, 60, 6, 200.0, 2_000);
    let (result, parts) = run(&plan, 2);
    assert_eq!(result.verdict.kind, Kind::Valid, "{:?}", broken(&result));
    assert_eq!((result.counts.intended, result.counts.sent, result.counts.acked), (400, 400, 400));
    assert_eq!(result.counts.delivered, 400 * 10, "to the subscribers of both");
    assert_eq!((result.ledger.faults(), result.ledger.foreign), (0, 0));
    assert_eq!(result.latency.delivery.count, 4_000);
    assert_eq!(result.config.schedule_sha256, plan.schedule.hash());
    assert_eq!(result.latency.first_subscriber.count, 0, "who was the first of all is not known");
    assert!((result.acked_per_s - 200.0).abs() < 20.0, "{}", result.acked_per_s);
    // Half of all deliveries came to each: rooms have members in both.
    for part in &parts {
        assert_eq!(part.result.counts.delivered, 2_000);
        assert!(part.result.counts.sent > 100, "the schedule draws who sends");
        assert_eq!(part.result.counts.sent, part.result.counts.intended);
    }
    assert_eq!(result.generators.len(), 2);
    // What the other sent has its whole way in it: no delivery is faster than the machine.
    assert!(result.latency.delivery.p50_us > Some(0));
}

#[test]
fn a_message_that_does_not_reach_the_other_generator_is_lost() {
    // The tenth subscriber of a room misses its third message.
    fn delivery(subscriber: usize, seq: u64) -> Act {
        if (subscriber, seq) == (9, 3) { Act::Drop } else { Act::Deliver }
    }
    let server = crate::scripted::start(Faults { delivery, ..Faults::default() });
    let (result, _) = run(&plan(server, 20, 2, 100.0, 1_000), 2);
    assert_eq!(result.ledger.lost, 2, "one in each room");
    assert_eq!(result.verdict.kind, Kind::Unstable);
}

#[test]
fn one_generator_of_one_is_a_run_like_any() {
    let server = crate::scripted::start(Faults::default());
    let (result, _) = run(&plan(server, 12, 3, 100.0, 500), 1);
    assert_eq!((result.counts.delivered, result.ledger.faults()), (50 * 4, 0));
}

#[test]
fn a_generator_whose_orders_do_not_come_gives_up() {
    let server = crate::scripted::start(Faults::default());
    let mine = shares(&plan(server, 4, 1, 100.0, 500), 2, 7, unix_ns()).unwrap().remove(0);
    let (give, given) = channel();
    drop(give);
    let error = generate_part(mine, &mut |_| {}, &given).unwrap_err();
    assert!(error.to_string().contains("order to begin"), "{error}");
}
