//! The process that writes.

use std::{
    io::{self, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

use super::{
    frame::Frame,
    plan::{ACCEPTED, Begin, CONNECT_MS, Orders, Written, hear, say},
};
use crate::{faults::monotonic_ns, resp::poller::be_punctual, schedule::Arrival};

/// Serves one run after the other, until the listener fails or this process ends. Blocks.
///
/// # Errors
/// What the listener says. A run whose reader goes away is over, and no error.
pub fn serve(listener: &TcpListener) -> io::Result<()> {
    be_punctual();
    loop {
        let (control, _) = listener.accept()?;
        if let Err(error) = run(listener, control) {
            eprintln!("the bare loop: {error}");
        }
    }
}

fn run(listener: &TcpListener, control: TcpStream) -> io::Result<()> {
    control.set_nodelay(true)?;
    control.set_read_timeout(Some(Duration::from_millis(CONNECT_MS)))?;
    let mut told = BufReader::new(control.try_clone()?);
    let mut control = control;
    let orders: Orders = hear(&mut told)?;
    orders.check().map_err(io::Error::other)?;
    let sockets = accept(listener, orders.sockets)?;
    say(&mut control, &ACCEPTED)?;
    let Begin { begin_ns } = hear(&mut told)?;
    let mut looped = Loop::new(orders, sockets);
    looped.run(begin_ns)?;
    say(&mut control, &looped.written)?;
    // The sockets are closed when the reader has gone, and not within what it measures.
    control.set_read_timeout(None)?;
    io::copy(&mut told, &mut io::sink()).map(drop)
}

/// All sockets, in the order of their numbers.
fn accept(listener: &TcpListener, count: usize) -> io::Result<Vec<TcpStream>> {
    let mut sockets: Vec<Option<TcpStream>> = (0..count).map(|_| None).collect();
    for _ in 0..count {
        let (mut socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        let mut number = [0; 4];
        socket.read_exact(&mut number)?;
        match sockets.get_mut(u32::from_le_bytes(number) as usize) {
            Some(place @ None) => *place = Some(socket),
            _ => return Err(io::Error::other("a socket with a number that is taken, or that none has")),
        }
    }
    Ok(sockets.into_iter().flatten().collect())
}

struct Loop {
    orders: Orders,
    sockets: Vec<TcpStream>,
    frame: Vec<u8>,
    written: Written,
    calls: u64,
}

impl Loop {
    fn new(orders: Orders, sockets: Vec<TcpStream>) -> Self {
        let frame = Frame::empty(orders.bytes);
        let written = Written { by_socket: vec![0; sockets.len()], ..Written::default() };
        Self { orders, sockets, frame, written, calls: 0 }
    }

    /// The warm-up's bursts from `begin_ns` on, then the window's.
    fn run(&mut self, begin_ns: u64) -> io::Result<()> {
        let warm_up = self.orders.warm_up();
        let schedule = self.orders.schedule.clone();
        let window_ns = begin_ns + warm_up.duration_ns;
        let give_up_ns = window_ns + schedule.duration_ns + self.orders.drain_ms * 1_000_000;
        let mut number = 0;
        for Arrival { at_ns, client } in warm_up.arrivals() {
            self.burst(number, client, begin_ns + at_ns, give_up_ns)?;
            number += 1;
        }
        let (calls, unwritten) = (self.calls, self.written.unwritten);
        let frames: u64 = self.written.by_socket.iter().sum();
        // Not before the window: what the warm-up still owes is not counted.
        wait_until(window_ns);
        // The process' time encloses the thread's.
        let [wall_0, process_0, thread_0] =
            [ClockId::Monotonic, ClockId::ProcessCPUTime, ClockId::ThreadCPUTime].map(clock);
        for Arrival { at_ns, client } in schedule.arrivals() {
            self.burst(number, client, window_ns + at_ns, give_up_ns)?;
            number += 1;
            self.written.bursts += 1;
        }
        let [thread_1, process_1, wall_1] =
            [ClockId::ThreadCPUTime, ClockId::ProcessCPUTime, ClockId::Monotonic].map(clock);
        let written = &mut self.written;
        written.bursts -= written.unwritten - unwritten;
        written.frames = written.by_socket.iter().sum::<u64>() - frames;
        written.calls = self.calls - calls;
        written.thread_ns = thread_1 - thread_0;
        written.process_ns = process_1 - process_0;
        written.wall_ns = wall_1 - wall_0;
        Ok(())
    }

    /// A frame to each socket of a room, when it is due.
    fn burst(&mut self, number: u32, client: u32, intended_ns: u64, give_up_ns: u64) -> io::Result<()> {
        wait_until(intended_ns);
        let sent_ns = monotonic_ns();
        if sent_ns >= give_up_ns {
            self.written.unwritten += 1;
            return Ok(());
        }
        let room = self.orders.room_of(client);
        Frame { number, room: room as u32, intended_ns, sent_ns }.put(&mut self.frame);
        for at in (room..self.sockets.len()).step_by(self.orders.rooms) {
            self.calls += write(&mut self.sockets[at], &self.frame)?;
            self.written.by_socket[at] += 1;
        }
        Ok(())
    }
}

/// Writes a frame; how many calls it took. Blocks when the reader is a whole socket's buffer behind.
fn write(socket: &mut TcpStream, mut frame: &[u8]) -> io::Result<u64> {
    let mut calls = 0;
    while !frame.is_empty() {
        calls += 1;
        match socket.write(frame) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => frame = frame.get(taken..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(calls)
}

/// Sleeps and does not spin: the wait would be in the CPU time that is measured.
fn wait_until(at_ns: u64) {
    let left_ns = at_ns.saturating_sub(monotonic_ns());
    if left_ns > 0 {
        std::thread::sleep(Duration::from_nanos(left_ns));
    }
}

fn clock(which: ClockId) -> u64 {
    let now = clock_gettime(which);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
