use std::path::Path;

use super::*;

const S: u64 = 1_000_000_000;

fn schedule(kind: ScheduleKind, rate: f64, secs: u64, seed: u64) -> Schedule {
    Schedule::new(kind, rate, secs * S, 50, seed).unwrap()
}

fn burst(width_ms: u64, spread: Spread) -> ScheduleKind {
    ScheduleKind::Burst(Burst { size: 100, period_ms: 500, width_ms, spread })
}

fn ramp(from: f64, to: f64, spread: Spread) -> ScheduleKind {
    ScheduleKind::Ramp(Ramp { from, to, spread })
}

fn stairs(steps: &[(f64, f64)], spread: Spread) -> ScheduleKind {
    let steps = steps.iter().map(|(rate, secs)| Step { rate: *rate, secs: *secs }).collect();
    ScheduleKind::Staircase(Staircase { steps, spread })
}

/// Every kind but replay, all of them with 4,000 arrivals in 20 s on average.
fn all() -> Vec<ScheduleKind> {
    vec![
        ScheduleKind::Constant,
        ScheduleKind::Poisson,
        burst(0, Spread::Constant),
        burst(100, Spread::Constant),
        burst(100, Spread::Poisson),
        ramp(0.0, 400.0, Spread::Constant),
        ramp(0.0, 400.0, Spread::Poisson),
        ramp(400.0, 0.0, Spread::Poisson),
        stairs(&[(100.0, 5.0), (0.0, 5.0), (350.0, 10.0)], Spread::Constant),
        stairs(&[(100.0, 5.0), (0.0, 5.0), (350.0, 5.0)], Spread::Poisson),
    ]
}

#[test]
fn the_same_seed_gives_the_same_arrivals_and_another_one_others() {
    for kind in all() {
        let [a, b, c] = [1, 1, 2].map(|seed| schedule(kind.clone(), 200.0, 20, seed));
        assert!(a.arrivals().eq(b.arrivals()));
        assert_eq!(a.hash(), b.hash());
        assert_ne!(a.hash(), c.hash(), "{kind}");
        assert_eq!(a.hash().len(), 64);
    }
}

#[test]
fn arrivals_are_in_order_and_inside_the_duration_at_the_rate() {
    for kind in all() {
        let schedule = schedule(kind.clone(), 200.0, 20, 7);
        assert!((schedule.rate_per_s - 200.0).abs() < 1e-9, "{kind}: mean rate {}", schedule.rate_per_s);
        let arrivals: Vec<_> = schedule.arrivals().collect();
        assert!(arrivals.windows(2).all(|w| w[0].at_ns <= w[1].at_ns), "{kind}");
        assert!(arrivals.iter().all(|a| a.at_ns < 20 * S && a.client < 50));
        // Five standard deviations of a Poisson count.
        let off = (arrivals.len() as f64 - 4_000.0).abs();
        assert!(off < 5.0 * 4_000f64.sqrt(), "{kind}: {}", arrivals.len());
        assert_eq!(schedule.due_by_second().iter().sum::<u64>(), schedule.count());
    }
}

#[test]
fn poisson_gaps_have_the_mean_and_the_variance_of_an_exponential() {
    let at: Vec<f64> =
        schedule(ScheduleKind::Poisson, 1000.0, 60, 3).arrivals().map(|a| a.at_ns as f64 / 1e6).collect();
    let gaps: Vec<f64> = at.windows(2).map(|w| w[1] - w[0]).collect();
    let n = gaps.len() as f64;
    let mean = gaps.iter().sum::<f64>() / n;
    let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n;
    assert!((mean - 1.0).abs() < 0.02, "mean {mean} ms");
    assert!((variance - 1.0).abs() < 0.06, "variance {variance} ms²");
}

#[test]
fn constant_gaps_are_equal_and_every_client_takes_its_turn() {
    let schedule = schedule(ScheduleKind::Constant, 100.0, 10, 9);
    let arrivals: Vec<_> = schedule.arrivals().collect();
    assert!(arrivals.windows(2).all(|w| (w[1].at_ns - w[0].at_ns).abs_diff(S / 100) <= 1));
    let mut per_client = [0; 50];
    arrivals.iter().for_each(|a| per_client[a.client as usize] += 1);
    assert!(per_client.iter().all(|n| *n == 20), "{per_client:?}");
}

#[test]
fn bursts_are_whole_within_their_width_and_go_round_the_clients() {
    for (width_ms, spread) in [(0, Spread::Constant), (100, Spread::Constant), (100, Spread::Poisson)] {
        let arrivals: Vec<_> = schedule(burst(width_ms, spread), 0.0, 20, 5).arrivals().collect();
        assert_eq!(arrivals.len(), 40 * 100);
        for (nth, one) in arrivals.chunks(100).enumerate() {
            let begin = arrivals[0].at_ns as i64 + nth as i64 * 500_000_000;
            let last = one[99].at_ns as i64 - begin;
            // The first of a random burst comes a little after its beginning.
            assert!(last <= width_ms as i64 * 1_000_000 && one[0].at_ns as i64 - begin > -20_000_000);
            let mut clients: Vec<_> = one[..50].iter().map(|a| a.client).collect();
            clients.sort_unstable();
            assert!(clients.iter().copied().eq(0..50), "each client once before any comes again");
        }
    }
}

#[test]
fn a_ramp_rises_in_a_straight_line() {
    for spread in [Spread::Constant, Spread::Poisson] {
        let due = schedule(ramp(100.0, 500.0, spread), 0.0, 20, 5).due_by_second();
        let of = |from: usize, to: usize| due[from..to].iter().sum::<u64>() as f64;
        // The integral of the rate over each quarter: 5 s × its middle's rate.
        for (quarter, rate) in [150.0, 250.0, 350.0, 450.0].into_iter().enumerate() {
            let (seen, expected) = (of(quarter * 5, quarter * 5 + 5), 5.0 * rate);
            let allowed = if spread == Spread::Constant { 1.0 } else { 5.0 * f64::sqrt(expected) };
            assert!((seen - expected).abs() <= allowed, "{spread:?}: {seen} for {expected}");
        }
    }
}

#[test]
fn a_staircase_keeps_each_rate_and_the_last_to_the_end() {
    let due = schedule(stairs(&[(100.0, 5.0), (0.0, 5.0), (350.0, 5.0)], Spread::Constant), 0.0, 20, 5);
    let due = due.due_by_second();
    assert!(due[..5].iter().all(|n| n.abs_diff(100) <= 1), "{due:?}");
    assert!(due[5..10].iter().sum::<u64>() <= 1, "a pause");
    assert!(due[10..].iter().all(|n| n.abs_diff(350) <= 1), "{due:?}");
}

#[test]
fn a_trace_repeats_another_schedule_to_the_microsecond() {
    let recorded = schedule(ScheduleKind::Poisson, 300.0, 5, 11);
    let trace = Trace::parse(Path::new("t.trace"), &Trace::text(&recorded)).unwrap();
    let replay = schedule(ScheduleKind::Replay(trace), 0.0, 5, 99);
    assert_eq!(replay.count(), recorded.count());
    assert!((replay.rate_per_s - recorded.count() as f64 / 5.0).abs() < 1e-9);
    for (was, is) in recorded.arrivals().zip(replay.arrivals()) {
        assert_eq!((is.at_ns, is.client), (was.at_ns / 1000 * 1000, was.client));
    }
    // The hash covers what is in the file, and the plan carries it.
    let other = Trace::parse(Path::new("t.trace"), "1 0\n2 0\n").unwrap();
    assert_ne!(schedule(ScheduleKind::Replay(other), 0.0, 5, 99).hash(), replay.hash());
    let json = serde_json::to_string(&replay).unwrap();
    assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), replay);
}

#[test]
fn a_trace_may_leave_out_clients_and_a_wrong_line_is_named() {
    let text = "# from somewhere\n\n0\n10,7\n10\t1\n2500 60\n";
    let trace = Trace::parse(Path::new("t"), text).unwrap();
    let arrivals: Vec<_> = schedule(ScheduleKind::Replay(trace), 0.0, 1, 1).arrivals().collect();
    assert_eq!(arrivals.iter().map(|a| a.at_ns).collect::<Vec<_>>(), [0, 10_000, 10_000, 2_500_000]);
    assert_eq!([arrivals[1].client, arrivals[2].client, arrivals[3].client], [7, 1, 10], "60 of 50 clients");
    for (text, named) in [
        ("5\n4\n", "line 2"),
        ("5\nx\n", "`x` is no whole number"),
        ("5 a\n", "`a` is no client"),
        ("5 1 1\n", "after offset and client"),
        ("90000000000\n", "more than a day"),
        ("# nothing\n", "no arrival"),
    ] {
        let error = Trace::parse(Path::new("bad.trace"), text).unwrap_err().to_string();
        assert!(error.contains(named) && error.contains("bad.trace"), "{error}");
    }
    let error = Trace::read(Path::new("/nowhere/t.trace")).unwrap_err().to_string();
    assert!(error.contains("/nowhere/t.trace"), "{error}");
}

#[test]
fn impossible_parameters_are_refused_by_name() {
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 2e6] {
        assert_eq!(Schedule::new(ScheduleKind::Poisson, rate, S, 1, 0), Err(ScheduleError::Rate));
    }
    assert_eq!(Schedule::new(ScheduleKind::Poisson, 1.0, S, 0, 0), Err(ScheduleError::Clients));
    let spread = Spread::Constant;
    for (kind, named) in [
        (ramp(-1.0, 5.0, spread), "schedule.from"),
        (ramp(0.0, 0.0, spread), "schedule.to"),
        (ramp(1.0, f64::NAN, spread), "schedule.to"),
        (stairs(&[], spread), "schedule.steps"),
        (stairs(&[(1.0, 20.0)], spread), "schedule.steps last 20 s"),
        (stairs(&[(1.0, 0.0)], spread), "schedule.steps.secs"),
        (stairs(&[(0.0, 1.0)], spread), "schedule.steps.rate"),
        (burst(501, spread), "schedule.width_ms"),
        (ScheduleKind::Burst(Burst { size: 0, period_ms: 1, width_ms: 0, spread }), "schedule.size"),
        (ScheduleKind::Burst(Burst { size: 1, period_ms: 0, width_ms: 0, spread }), "schedule.period_ms"),
        (ScheduleKind::Burst(Burst { size: 9_999, period_ms: 1, width_ms: 0, spread }), "schedule.size"),
    ] {
        let error = Schedule::new(kind, 1.0, 10 * S, 1, 0).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn the_warm_up_begins_at_the_rate_the_schedule_begins_with() {
    let warm = |kind| schedule(kind, 200.0, 20, 1).warm_up(1500);
    assert_eq!(warm(ScheduleKind::Constant).rate_per_s, 200.0);
    assert_eq!(warm(ramp(50.0, 90.0, Spread::Constant)).rate_per_s, 50.0);
    assert_eq!(warm(ramp(0.0, 90.0, Spread::Poisson)).rate_per_s, 45.0);
    let steps = warm(stairs(&[(0.0, 1.0), (30.0, 1.0)], Spread::Poisson));
    assert_eq!(
        (steps.kind.clone(), steps.rate_per_s, steps.duration_ns),
        (ScheduleKind::Poisson, 30.0, 3 * S / 2)
    );
    assert!(steps.check().is_ok());
}

#[test]
fn schedules_are_written_as_a_name_or_a_table_whose_wrong_fields_are_named() {
    #[derive(Deserialize, Serialize, Debug, PartialEq)]
    struct File {
        schedule: LoadKind,
    }
    let read = |text: &str| toml::from_str::<File>(text).map(|file| file.schedule).map_err(|e| e.to_string());
    assert_eq!(read("schedule = \"poisson\""), Ok(LoadKind::Open(ScheduleKind::Poisson)));
    assert_eq!(read("[schedule]\nkind = \"constant\""), Ok(LoadKind::Open(ScheduleKind::Constant)));
    for (table, kind) in [
        ("kind = \"burst\"\nsize = 100\nperiod_ms = 500\nwidth_ms = 100", burst(100, Spread::Poisson)),
        ("kind = \"ramp\"\nfrom = 1.0\nto = 5.0\nspread = \"constant\"", ramp(1.0, 5.0, Spread::Constant)),
        (
            "kind = \"staircase\"\nsteps = [{ rate = 10, secs = 5 }, { rate = 2.5, secs = 1 }]",
            stairs(&[(10.0, 5.0), (2.5, 1.0)], Spread::Poisson),
        ),
    ] {
        let load = read(&format!("[schedule]\n{table}")).unwrap();
        assert_eq!(load, LoadKind::Open(kind));
        let json = serde_json::to_string(&load).unwrap();
        assert_eq!(serde_json::from_str::<LoadKind>(&json).unwrap(), load, "{json}");
    }
    let closed = read("[schedule]\nkind = \"closed\"\nconcurrency = 50").unwrap();
    assert_eq!((closed.to_string().as_str(), closed.open()), ("closed loop, 50 at once", None));
    assert!(serde_json::from_str::<ScheduleKind>(&serde_json::to_string(&closed).unwrap()).is_err());
    for (text, named) in [
        ("schedule = \"ramp\"", "write a table"),
        ("schedule = \"sometimes\"", "sometimes"),
        ("[schedule]\nkind = \"ramp\"\nform = 1.0\nto = 2.0", "form"),
        ("[schedule]\nkind = \"ramp\"\nfrom = 1.0", "to"),
        ("[schedule]\nkind = \"poisson\"\nrate = 1.0", "rate"),
        ("[schedule]\nkind = \"staircase\"\nsteps = [{ rate = 1.0, sec = 1.0 }]", "sec"),
        ("[schedule]\nkind = \"closed\"\nconcurrency = 50\nrate = 1.0", "rate"),
        ("[schedule]\nkind = \"walk\"", "walk"),
        ("schedule = 5", "the name of a schedule"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(named), "{error}");
    }
}
