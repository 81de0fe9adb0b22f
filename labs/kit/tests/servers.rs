//! Managed servers, with real processes: ready when they say so, gone when their owner is.
// Helpers of tests are not `#[test]` functions themselves, which is where these are allowed by default.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chatlab_kit::prereq::{ServerBinary, find_server};
use chatlab_kit::servers::process::Identity;
use chatlab_kit::servers::{Managed, Role, ServerOptions, Topology, poll, sweep};
use tokio::signal::unix::{SignalKind, signal};

/// How long a test waits for anything before it fails.
const BOUND: Duration = Duration::from_secs(20);
/// Names the topology that the helper process is to own.
const HELPER: &str = "CHATLAB_TEST_OWNER_OF";

fn binary() -> ServerBinary {
    find_server(None).unwrap()
}

fn start(topology: Topology) -> Managed {
    let begin = Instant::now();
    let managed = Managed::start(topology, &binary(), &ServerOptions::default()).unwrap();
    println!("{topology} ready after {:?}", begin.elapsed());
    managed
}

/// One command on a connection of its own; the raw reply, which is short.
fn ask(addr: &str, command: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

fn until(what: &str, mut look: impl FnMut() -> bool) {
    let seen = poll(BOUND, || if look() { Ok(()) } else { Err(String::new()) });
    assert!(seen.is_ok(), "{what}: not within {BOUND:?}");
}

#[test]
fn a_single_node_is_ready_when_start_returns_and_gone_after_drop() {
    let managed = start(Topology::Single);
    let addr = managed.addrs().remove(0);
    assert!(ask(&addr, "SET k v").starts_with("+OK"));
    let folder = managed.folder().to_path_buf();
    let process = Identity::of(managed.pid(0).unwrap()).unwrap();
    assert!(folder.is_dir());
    drop(managed);
    assert!(!process.is_alive());
    assert!(!folder.exists());
}

#[test]
fn a_cluster_is_whole_when_start_returns() {
    let managed = start(Topology::Cluster);
    assert_eq!(managed.nodes().len(), 6);
    for (index, node) in managed.nodes().iter().enumerate() {
        let info = ask(&node.addr(), "CLUSTER INFO");
        assert!(info.contains("cluster_state:ok"), "{info}");
        let replication = ask(&node.addr(), "INFO replication");
        if index < 3 {
            assert_eq!(node.initial_role, Role::Master);
            assert!(
                replication.contains("role:master") && replication.contains("state=online"),
                "{replication}"
            );
        } else {
            assert_eq!(node.initial_role, Role::Replica);
            let master = format!("master_port:{}", managed.nodes()[index - 3].port);
            assert!(replication.contains("master_link_status:up"), "{replication}");
            assert!(replication.contains(&master), "{replication}");
        }
        assert!(node.port + 10_000 < 32_768);
    }
}

#[test]
fn a_killed_master_is_replaced_and_comes_back_as_a_replica() {
    let managed = start(Topology::Cluster);
    managed.kill_node(0).unwrap();
    assert_eq!(managed.pid(0), None);
    let promoted = managed.nodes()[3].addr();
    until("promotion of the replica", || ask(&promoted, "INFO replication").contains("role:master"));
    managed.restart_node(0).unwrap();
    managed.await_whole(BOUND).unwrap();
    let returned = ask(&managed.nodes()[0].addr(), "INFO replication");
    assert!(returned.contains("role:slave"), "{returned}");
}

#[test]
fn a_node_with_persistence_has_its_data_after_a_kill_and_restart() {
    let opts = ServerOptions {
        persistence: true,
        extra: vec![("appendfsync".to_owned(), "always".to_owned())],
        ..ServerOptions::default()
    };
    let managed = Managed::start(Topology::Single, &binary(), &opts).unwrap();
    let addr = managed.addrs().remove(0);
    assert!(ask(&addr, "SET kept yes").starts_with("+OK"));
    managed.restart_node(0).unwrap();
    let kept = ask(&addr, "GET kept");
    assert!(kept.starts_with("$3\r\nyes"), "{kept}");
}

#[test]
fn a_paused_node_takes_connections_but_answers_only_when_resumed() {
    let managed = start(Topology::Single);
    let addr = managed.addrs().remove(0);
    managed.pause_node(0).unwrap();
    let mut stream = TcpStream::connect(&addr).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut reply = [0; 7];
    assert!(stream.read_exact(&mut reply).is_err());
    managed.resume_node(0).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
}

#[test]
fn a_server_that_cannot_start_is_reported_with_its_log_and_leaves_nothing() {
    let extra = vec![("no-such-setting".to_owned(), "1".to_owned())];
    let opts = ServerOptions { extra, ..ServerOptions::default() };
    let error = Managed::start(Topology::Single, &binary(), &opts).unwrap_err().to_string();
    assert!(error.contains("no-such-setting"), "{error}");
}

#[test]
fn servers_outlive_the_thread_that_started_them() {
    let managed = std::thread::spawn(|| start(Topology::Single)).join().unwrap();
    let process = Identity::of(managed.pid(0).unwrap()).unwrap();
    assert!(ask(&managed.addrs()[0], "PING").starts_with("+PONG"));
    assert!(process.is_alive());
}

/// Not a test: the process that the tests below end. It owns servers and says so, then waits to be ended.
#[test]
#[ignore = "the helper process of other tests"]
fn helper_owner() {
    let Ok(topology) = std::env::var(HELPER) else { return };
    let managed = start(topology.parse().unwrap());
    let pids: Vec<String> = (0..managed.nodes().len()).map(|i| managed.pid(i).unwrap().to_string()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // A shell that starts something in the background has it ignore Ctrl-C, and so does all that it starts.
        let mut ctrl_c = signal(SignalKind::interrupt()).unwrap();
        println!("OWNS {} {}", managed.folder().display(), pids.join(" "));
        ctrl_c.recv().await;
    });
    // As the signal itself would: without a destructor.
    std::process::exit(130);
}

struct Helper {
    child: Child,
    folder: PathBuf,
    servers: Vec<Identity>,
}

fn helper(topology: Topology) -> Helper {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper_owner", "--ignored", "--nocapture"])
        .env(HELPER, topology.as_str())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.filter_map(|line| line.split_once("OWNS ").map(|(_, rest)| rest.to_owned())).next();
    let line = line.expect("the helper says what it owns");
    let mut words = line.split(' ');
    let folder = PathBuf::from(words.next().unwrap());
    let servers = words.map(|pid| Identity::of(pid.parse().unwrap()).unwrap()).collect();
    Helper { child, folder, servers }
}

/// Ends the helper by `signal`, and everything it owned is gone within two seconds.
fn nothing_is_left_after(topology: Topology, signal: &str) {
    let mut helper = helper(topology);
    assert_eq!(helper.servers.len(), topology.node_count());
    assert!(helper.folder.is_dir() && helper.servers.iter().all(Identity::is_alive));
    let pid = helper.child.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    let begin = Instant::now();
    helper.child.wait().unwrap();
    until("servers and folder gone", || {
        !helper.folder.exists() && !helper.servers.iter().any(Identity::is_alive)
    });
    println!("{topology}, kill {signal}: nothing left after {:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn nothing_is_left_after_kill_9_of_the_owner_of_a_single_node() {
    nothing_is_left_after(Topology::Single, "-KILL");
}

#[test]
fn nothing_is_left_after_kill_9_of_the_owner_of_a_cluster() {
    nothing_is_left_after(Topology::Cluster, "-KILL");
}

#[test]
fn nothing_is_left_after_ctrl_c_or_sigterm() {
    nothing_is_left_after(Topology::Single, "-INT");
    nothing_is_left_after(Topology::Single, "-TERM");
}

/// The janitor's pid: the child of `owner` that carries the folder as an argument.
fn janitor_of(folder: &Path) -> u32 {
    let listing = Command::new("ps").args(["-ww", "-eo", "pid=,args="]).output().unwrap();
    let text = String::from_utf8(listing.stdout).unwrap();
    let wanted = format!("chatlab-janitor {}", folder.display());
    let line = text.lines().find(|line| line.ends_with(&wanted)).expect("a janitor");
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn what_an_owner_and_its_janitor_left_is_swept_by_the_next_start() {
    let mut helper = helper(Topology::Single);
    let janitor = Identity::of(janitor_of(&helper.folder)).unwrap();
    let kill = |pid: u32| Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
    kill(janitor.pid);
    until("the janitor is gone", || !janitor.is_alive());
    kill(helper.child.id());
    helper.child.wait().unwrap();
    until("the servers are gone", || !helper.servers.iter().any(Identity::is_alive));
    // Another test's start may be sweeping it at the same time: what counts is that it goes.
    sweep();
    until("the folder is gone", || !helper.folder.exists());
}
