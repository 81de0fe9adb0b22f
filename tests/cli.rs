//! The command line as its users meet it.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use crate::common::chatlab;

/// Runs a verb with no Redis server to be found and no terminal.
fn without_redis(args: &[&str]) -> Output {
    let empty = tempfile::tempdir().unwrap();
    Command::new(chatlab())
        .args(args)
        .env_clear()
        .env("PATH", empty.path())
        .env("HOME", empty.path())
        .env("XDG_CACHE_HOME", empty.path())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn without_redis_each_verb_that_needs_it_says_what_to_type() {
    for args in [
        &["demo"][..],
        &["check", "sessions", "--all"],
        &["console", "sessions"],
        &["proxy", "sessions"],
        &["load", "run", "chat-steady"],
        &["test"],
    ] {
        let output = without_redis(args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains("redis-server") && stderr.contains("--yes"), "{args:?}: {stderr}");
    }
}

#[test]
fn a_setting_that_names_no_server_is_an_error_that_names_it() {
    let output = Command::new(chatlab())
        .args(["demo", "--redis-server", "/nonexistent/redis-server"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("/nonexistent/redis-server"));
}

#[test]
fn what_is_no_database_is_told_without_the_password() {
    for (db, words) in [
        ("postgres://ada:secret@127.0.0.1:1/chat", "postgres://127.0.0.1:1/chat"),
        ("postgres://ada:sec/ret@127.0.0.1:x/chat", "database postgres://…"),
        ("mysql://ada:secret@127.0.0.1/chat", "a database is"),
    ] {
        let output = without_redis(&["admin", "users", "list", "--db", db]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(words) && !stderr.contains("sec"), "{stderr}");
    }
}

#[test]
fn wrong_words_get_usage_and_the_code_for_it() {
    for args in [&["explode"][..], &["check", "no-such-lab"], &["load", "run", "no-such-scenario"]] {
        let output = Command::new(chatlab()).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn what_the_compiler_says_of_a_test_or_an_exercise_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let cargo = folder.path().join("cargo");
    std::fs::write(&cargo, "#!/bin/sh\necho 'error: expected a semicolon' >&2\nexit 101\n").unwrap();
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
    for args in [&["test", "this"][..], &["play", "sessions"]] {
        let mut command = Command::new(chatlab());
        command.args(args).env("CARGO", &cargo).env("CHATLAB_STATE", folder.path());
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        assert!(stderr.contains("expected a semicolon"), "{args:?}: {stderr}");
    }
}

#[test]
fn help_fits_eighty_columns_and_states_the_exit_codes() {
    let help = text(&Command::new(chatlab()).arg("--help").output().unwrap().stdout);
    assert!(help.contains("Exit codes:"));
    for verb in [
        "demo", "serve", "redis", "list", "next", "read", "console", "proxy", "check", "watch", "hint",
        "solution", "race", "reset", "bench", "load", "doctor", "test", "chat",
    ] {
        let help = text(&Command::new(chatlab()).args([verb, "--help"]).output().unwrap().stdout);
        assert!(help.contains("Usage:"), "{verb}");
        assert!(help.contains("Examples:"), "{verb} has no examples");
        let long = help.lines().find(|line| line.chars().count() > 80);
        assert_eq!(long, None, "{verb}");
    }
}

#[test]
fn piped_output_has_no_colours_and_json_parses() {
    let state = tempfile::tempdir().unwrap();
    for args in [&["list"][..], &["read", "sessions"], &["load", "list"]] {
        let output = Command::new(chatlab()).args(args).env("CHATLAB_STATE", state.path()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        assert!(!output.stdout.contains(&0x1b), "{args:?}");
    }
    for args in [&["list", "--json"][..], &["load", "list", "--json"], &["doctor", "--json"]] {
        let output = Command::new(chatlab()).args(args).output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout)
            .unwrap_or_else(|e| panic!("{args:?}: {e}"));
    }
}

#[test]
fn completions_are_printed_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(chatlab()).args(["completions", shell]).output().unwrap();
        assert!(text(&output.stdout).contains("chatlab"), "{shell}");
    }
}
