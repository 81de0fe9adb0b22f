//! A responder that speaks as much RESP2 as a driver needs, and stands still as planned.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Starts a responder for the test process' whole life: `+OK` to every command, `$1 v` to GET. At the nth command of all
/// connections together, from 0, it stands still so long before it answers.
pub fn start(stalls: Vec<(u64, Duration)>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stalls, commands) = (Arc::new(stalls), Arc::new(AtomicU64::new(0)));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stalls, commands) = (stalls.clone(), commands.clone());
            std::thread::spawn(move || serve(stream.unwrap(), &stalls, &commands));
        }
    });
    address
}

fn serve(stream: TcpStream, stalls: &[(u64, Duration)], commands: &AtomicU64) {
    stream.set_nodelay(true).unwrap();
    let mut sink = stream.try_clone().unwrap();
    let mut source = BufReader::new(stream);
    while let Some(name) = command(&mut source) {
        let nth = commands.fetch_add(1, Relaxed);
        if let Some((_, long)) = stalls.iter().find(|(at, _)| *at == nth) {
            std::thread::sleep(*long);
        }
        let answer: &[u8] = if name.eq_ignore_ascii_case(b"GET") { b"$1\r\nv\r\n" } else { b"+OK\r\n" };
        if sink.write_all(answer).is_err() {
            return;
        }
    }
}

/// A command's name; none when the connection has ended.
fn command(source: &mut impl BufRead) -> Option<Vec<u8>> {
    let arguments = length(source, '*')?;
    let mut name = None;
    for _ in 0..arguments {
        let mut argument = vec![0; length(source, '$')? + 2];
        source.read_exact(&mut argument).ok()?;
        argument.truncate(argument.len() - 2);
        name.get_or_insert(argument);
    }
    name
}

fn length(source: &mut impl BufRead, mark: char) -> Option<usize> {
    let mut line = String::new();
    source.read_line(&mut line).ok()?;
    line.trim_end().strip_prefix(mark)?.parse().ok()
}
