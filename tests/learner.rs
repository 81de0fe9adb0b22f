//! The learner's way through a lab, with the real binary and a state folder of its own for each test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chatlab_kit::lab::{Lab, Step};
use chatlab_kit::steps::{instance, words};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::chatlab;

/// Far more than anything here takes; reached only when something is broken.
const SOON: Duration = Duration::from_secs(60);
const SEED: u64 = 7;

struct Learner {
    state: TempDir,
}

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Learner {
    fn new() -> Self {
        Self { state: tempfile::tempdir().unwrap() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(chatlab());
        command.args(args).env("CHATLAB_STATE", self.state.path()).current_dir(env!("CARGO_MANIFEST_DIR"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str], typed: &str) -> Ran {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        // A verb that reads nothing may be gone by now.
        let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ran = Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) };
        assert!(!ran.out.contains('\x1b'), "{args:?} writes styles into a pipe: {}", ran.out);
        ran
    }

    fn json(&self, args: &[&str]) -> Value {
        let ran = self.run(args, "");
        serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{args:?}: {e}: {}{}", ran.out, ran.err))
    }

    fn progress_file(&self) -> PathBuf {
        self.state.path().join("progress.json")
    }

    fn standing(&self) -> Value {
        self.json(&["list", "sessions", "--json"])[0]["progress"].clone()
    }
}

fn sessions() -> &'static dyn Lab {
    chatlab::labs::named("sessions").unwrap()
}

fn step(lab: &dyn Lab, number: usize) -> Step {
    let manifest = lab.manifest().unwrap();
    let id = &manifest.steps[number].id;
    instance(&manifest, id, SEED).unwrap()
}

fn typed(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn fits(ran: &Ran) {
    let long = ran.out.lines().find(|line| line.chars().count() > 80);
    assert_eq!(long, None, "{}", ran.out);
}

#[test]
fn next_leads_from_the_lesson_to_the_console_and_list_shows_how_far_it_is() {
    let learner = Learner::new();
    assert_eq!(learner.json(&["next", "--json"])["command"], "chatlab read sessions");
    fits(&learner.run(&["next"], ""));
    assert!(learner.run(&["read", "sessions"], "").out.starts_with("# "));
    assert_eq!(learner.json(&["next", "--json"])["command"], "chatlab console sessions");
    assert_eq!(learner.standing()["read"], true);
    for args in
        [&["list"][..], &["list", "sessions"], &["next"], &["race", "sessions"], &["hint", "sessions"]]
    {
        let ran = learner.run(args, "");
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.err);
        fits(&ran);
    }
    let detail = learner.run(&["list", "sessions"], "").out;
    for part in ["Variants", "Checks", "Console steps: 0 of", "Experiments"] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
}

#[test]
fn a_wrong_attempt_gets_the_hint_that_fits_then_the_step_passes_and_progress_is_kept() {
    let learner = Learner::new();
    let seed = SEED.to_string();
    let first = step(sessions(), 0);
    let console = ["console", "sessions", &first.id, "--seed", &seed];
    let wrong = learner.run(&console, "SET elsewhere 1\n:check\n:hint\n:hint\n:trace\n");
    assert_eq!(wrong.code, Some(1), "{}{}", wrong.out, wrong.err);
    assert!(wrong.out.contains("\nOK\n") && wrong.out.contains("not yet"), "{}", wrong.out);
    assert!(wrong.out.contains("hint"), "{}", wrong.out);
    assert!(wrong.out.contains("1 command in 1 round trip"), "{}", wrong.out);
    assert!(wrong.out.contains(&format!("seed {SEED}")), "{}", wrong.out);
    fits(&wrong);
    let refused = learner.run(&["solution", "sessions", &first.id], "");
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""), "{}", refused.err);

    let right = learner.run(&console, &typed(&first.solution));
    assert_eq!(right.code, Some(0), "{}{}", right.out, right.err);
    assert!(right.out.contains(&format!("Passed: {}", first.id)), "{}", right.out);
    assert!(right.out.contains("The step's own solution"), "{}", right.out);
    assert_eq!(learner.standing()["steps_done"], 1);
    let shown = learner.run(&["solution", "sessions", &first.id], "");
    assert_eq!(shown.code, Some(0));
    assert!(first.solution.iter().all(|line| shown.out.contains(line.as_str())), "{}", shown.out);

    // Without a step it goes on where the learner was, through as many steps as are solved.
    let more = typed(&step(sessions(), 1).solution) + &typed(&step(sessions(), 2).solution);
    let on = learner.run(&["console", "sessions"], &more);
    assert_eq!(on.code, Some(0), "{}{}", on.out, on.err);
    assert_eq!(learner.standing()["steps_done"], 3);
}

#[test]
fn a_recognised_mistake_is_named_before_any_other_hint() {
    let learner = Learner::new();
    for lab in chatlab::labs::all() {
        let manifest = lab.manifest().unwrap();
        let Some(known) = manifest.steps.iter().find(|step| !step.mistakes.is_empty() && !step.cluster)
        else {
            continue;
        };
        let step = instance(&manifest, &known.id, SEED).unwrap();
        let mistake = &step.mistakes[0];
        let seed = SEED.to_string();
        let lines = typed(&mistake.attempt) + ":hint\n";
        let ran = learner.run(&["console", lab.id(), &step.id, "--seed", &seed], &lines);
        let said: String = ran.out.split_whitespace().collect::<Vec<_>>().join(" ");
        let say: String = mistake.say.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(&format!("hint: {say}")), "{} {}: {}{}", lab.id(), step.id, ran.out, ran.err);
        assert_eq!(ran.code, Some(1), "{}", ran.out);
        return;
    }
}

/// A running `chatlab proxy`; ended when dropped.
struct Outside {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
    seen: String,
}

impl Outside {
    fn start(learner: &Learner, args: &[&str]) -> Self {
        let mut child = learner.command(args).stdin(Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines, seen: String::new() }
    }

    fn until(&mut self, part: &str) -> String {
        let deadline = Instant::now() + SOON;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line =
                self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no `{part}` in:\n{}", self.seen));
            self.seen.push_str(&format!("{line}\n"));
            if line.contains(part) {
                return line;
            }
        }
    }

    fn ended(&mut self) -> Option<i32> {
        let deadline = Instant::now() + SOON;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it did not end:\n{}", self.seen)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program of the learner's, in plain RESP.
fn send(redis: &mut TcpStream, line: &str) {
    let words = words(line).unwrap();
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    redis.write_all(bytes.as_bytes()).unwrap();
    let mut reply = [0; 1024];
    assert!(redis.read(&mut reply).unwrap() > 0, "{line}: no reply");
}

#[test]
fn a_program_of_the_learners_passes_a_step_through_the_proxy() {
    let learner = Learner::new();
    let step = step(sessions(), 0);
    let seed = SEED.to_string();
    let mut proxy = Outside::start(&learner, &["proxy", "sessions", &step.id, "--seed", &seed, "--once"]);
    let line = proxy.until("Connect your client or program to: ");
    let addr = line.rsplit(' ').next().unwrap();
    let mut redis = TcpStream::connect(addr).unwrap();
    redis.set_read_timeout(Some(SOON)).unwrap();
    send(&mut redis, "SET elsewhere 1");
    proxy.until("not yet");
    for line in &step.solution {
        send(&mut redis, line);
    }
    proxy.until("Passed: ");
    assert_eq!(proxy.ended(), Some(0));
    assert_eq!(learner.standing()["steps_done"], 1);
}

#[test]
fn the_end_of_a_proxy_without_a_pass_is_a_failure() {
    let learner = Learner::new();
    let mut proxy = Outside::start(&learner, &["proxy", "sessions"]);
    proxy.until("Connect your client or program to: ");
    proxy.child.stdin.take().unwrap().write_all(b"check\nhint\nquit\n").unwrap();
    proxy.until("hint 1 of");
    assert_eq!(proxy.ended(), Some(1));
}

#[test]
fn hints_go_deeper_and_the_solution_is_shown_only_after_a_surrender() {
    let learner = Learner::new();
    let layers = step(sessions(), 0).hints;
    let first = learner.run(&["hint", "sessions"], "").out;
    assert!(first.contains(&format!("hint 1 of {}", layers.len())), "{first}");
    let rest = learner.run(&["hint", "sessions", "--more"], "").out;
    assert!(rest.contains(&format!("hint {0} of {0}", layers.len())), "{rest}");

    let refused = learner.run(&["solution", "sessions"], "");
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""));
    assert!(refused.err.contains("--show"), "{}", refused.err);
    let shown = learner.run(&["solution", "sessions", "--show"], "");
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    assert!(shown.out.contains(sessions().reference_source().trim_end()), "{}", shown.out);
    assert!(shown.out.contains("What the reference sends"), "{}", shown.out);
    assert_eq!(learner.standing()["code_surrendered"], true);
}

#[test]
fn reset_asks_or_is_told_and_forgets_what_it_says() {
    let learner = Learner::new();
    let first = step(sessions(), 0);
    let seed = SEED.to_string();
    learner.run(&["read", "sessions"], "");
    learner.run(&["console", "sessions", &first.id, "--seed", &seed], &typed(&first.solution));
    assert_eq!(learner.standing()["steps_done"], 1);
    let unasked = learner.run(&["reset", "sessions"], "");
    assert_eq!(unasked.code, Some(2));
    assert!(unasked.err.contains("--yes"), "{}", unasked.err);
    assert_eq!(learner.standing()["steps_done"], 1);
    assert_eq!(learner.run(&["reset", "sessions", "--yes"], "").code, Some(0));
    let after = learner.standing();
    assert_eq!((&after["steps_done"], &after["read"]), (&Value::from(0), &Value::from(true)));
    assert_eq!(learner.run(&["reset", "sessions", "--progress", "--yes"], "").code, Some(0));
    assert_eq!(learner.standing()["read"], false);
}

#[test]
fn a_newer_progress_file_is_refused_and_a_broken_one_set_aside() {
    let learner = Learner::new();
    let newer = r#"{"version": 1000, "labs": {}}"#;
    std::fs::write(learner.progress_file(), newer).unwrap();
    for args in [&["list"][..], &["next"], &["console", "sessions"], &["reset", "sessions", "--yes"]] {
        let ran = learner.run(args, "");
        assert_eq!(ran.code, Some(2), "{args:?}");
        assert!(ran.err.contains("version 1000"), "{args:?}: {}", ran.err);
    }
    // A lesson can be read all the same.
    assert_eq!(learner.run(&["read", "sessions"], "").code, Some(0));
    assert_eq!(std::fs::read_to_string(learner.progress_file()).unwrap(), newer);

    std::fs::write(learner.progress_file(), "{\"version\":1,").unwrap();
    let ran = learner.run(&["list"], "");
    assert_eq!(ran.code, Some(0));
    assert!(ran.err.contains("set aside"), "{}", ran.err);
    let aside = learner.state.path().join("progress.json.unreadable-1");
    assert_eq!(std::fs::read_to_string(aside).unwrap(), "{\"version\":1,");
}

#[test]
fn verbs_say_what_there_is_when_a_name_is_wrong() {
    let learner = Learner::new();
    for args in [
        &["console", "sessions", "no-such-step"][..],
        &["proxy", "no-such-lab"],
        &["hint", "sessions", "no-such-step"],
        &["solution", "sessions", "no-such-step"],
        &["race", "sessions", "no-such-race"],
        &["watch", "no-such-lab"],
        &["list", "no-such-lab"],
    ] {
        let ran = learner.run(args, "");
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.err);
        assert!(ran.err.contains("there are"), "{args:?}: {}", ran.err);
    }
}
