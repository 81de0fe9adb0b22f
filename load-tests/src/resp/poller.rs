//! Waiting for many sockets, to the microsecond. Level-triggered: what is not read now is reported again.

#[cfg(target_os = "linux")]
pub(crate) use epolled::Poller;
#[cfg(not(target_os = "linux"))]
pub(crate) use polled::Poller;

use std::time::Duration;

use rustix::event::Timespec;

/// A socket that can be read or written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub token: u64,
    pub writable: bool,
}

/// Linux wakes a sleeping thread up to 50 µs late, to wake several at once; this one asks not to be among them.
pub(crate) fn be_punctual() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

fn timespec(duration: Duration) -> Timespec {
    let tv_sec = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec, tv_nsec: duration.subsec_nanos().into() }
}

#[cfg(target_os = "linux")]
mod epolled {
    use std::{io, net::TcpStream, time::Duration};

    use rustix::{
        buffer::spare_capacity,
        event::{PollFd, PollFlags, epoll, poll},
        fd::OwnedFd,
        io::Errno,
    };

    use super::{Ready, timespec};

    /// The most sockets that one look reports.
    const EVENTS: usize = 256;
    /// `epoll_wait` counts in whole milliseconds: a wait that is not much longer is left to `ppoll` on the epoll descriptor.
    const FINE: Duration = Duration::from_millis(20);

    pub(crate) struct Poller {
        epoll: OwnedFd,
        events: Vec<epoll::Event>,
    }

    impl Poller {
        pub fn new() -> io::Result<Self> {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            Ok(Self { epoll, events: Vec::with_capacity(EVENTS) })
        }

        /// Watches a socket for input until [`Poller::remove`].
        pub fn add(&mut self, stream: &TcpStream, token: u64) -> io::Result<()> {
            let data = epoll::EventData::new_u64(token);
            Ok(epoll::add(&self.epoll, stream, data, epoll::EventFlags::IN)?)
        }

        /// Whether room for output is to be reported as well.
        pub fn want_write(&mut self, stream: &TcpStream, token: u64, want: bool) -> io::Result<()> {
            let output = if want { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
            let data = epoll::EventData::new_u64(token);
            Ok(epoll::modify(&self.epoll, stream, data, epoll::EventFlags::IN | output)?)
        }

        /// Closing a socket ends its being watched; this is for the other implementation's sake.
        pub fn remove(&mut self, _token: u64) {}

        /// Appends what is ready to `ready`, after `at_most` at the latest.
        pub fn wait(&mut self, at_most: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
            let mut timeout = timespec(at_most);
            if !at_most.is_zero() && at_most < FINE {
                let mut fds = [PollFd::new(&self.epoll, PollFlags::IN)];
                match poll(&mut fds, Some(&timeout)) {
                    Ok(0) | Err(Errno::INTR) => return Ok(()),
                    Ok(_) => timeout = timespec(Duration::ZERO),
                    Err(error) => return Err(error.into()),
                }
            }
            self.events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            ready.extend(self.events.iter().map(|event| {
                let flags = event.flags;
                Ready { token: event.data.u64(), writable: flags.contains(epoll::EventFlags::OUT) }
            }));
            Ok(())
        }
    }
}

/// Where there is no epoll: every wait looks at all sockets.
#[cfg(any(test, not(target_os = "linux")))]
mod polled {
    use std::{io, net::TcpStream, time::Duration};

    use rustix::{
        event::{PollFd, PollFlags, poll},
        io::Errno,
    };

    use super::{Ready, timespec};

    #[derive(Default)]
    pub(crate) struct Poller {
        watched: Vec<(u64, TcpStream, bool)>,
    }

    impl Poller {
        #[expect(clippy::unnecessary_wraps, reason = "as the other implementation")]
        pub fn new() -> io::Result<Self> {
            Ok(Self::default())
        }

        pub fn add(&mut self, stream: &TcpStream, token: u64) -> io::Result<()> {
            self.watched.push((token, stream.try_clone()?, false));
            Ok(())
        }

        #[expect(clippy::unnecessary_wraps, reason = "as the other implementation")]
        pub fn want_write(&mut self, _stream: &TcpStream, token: u64, want: bool) -> io::Result<()> {
            for (_, _, writes) in self.watched.iter_mut().filter(|(known, ..)| *known == token) {
                *writes = want;
            }
            Ok(())
        }

        pub fn remove(&mut self, token: u64) {
            self.watched.retain(|(known, ..)| *known != token);
        }

        pub fn wait(&mut self, at_most: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
            let interest = |writes: bool| if writes { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            let mut fds: Vec<_> = self
                .watched
                .iter()
                .map(|(_, stream, writes)| PollFd::new(stream, interest(*writes)))
                .collect();
            match poll(&mut fds, Some(&timespec(at_most))) {
                Ok(_) => {}
                Err(Errno::INTR) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            ready.extend(self.watched.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty()).map(
                |((token, ..), fd)| Ready { token: *token, writable: fd.revents().contains(PollFlags::OUT) },
            ));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{TcpListener, TcpStream},
        time::Duration,
    };

    const LONG: Duration = Duration::from_secs(30);

    macro_rules! reports_what_is_ready {
        ($name:ident, $poller:ty) => {
            #[test]
            fn $name() {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let (mut theirs, _) = listener.accept().unwrap();
                let mut poller = <$poller>::new().unwrap();
                poller.add(&ours, 7).unwrap();
                let mut ready = Vec::new();
                poller.wait(Duration::from_micros(50), &mut ready).unwrap();
                assert!(ready.is_empty());
                theirs.write_all(b"x").unwrap();
                poller.wait(LONG, &mut ready).unwrap();
                assert_eq!((ready.len(), ready[0].token, ready[0].writable), (1, 7, false));
                poller.want_write(&ours, 7, true).unwrap();
                ready.clear();
                poller.wait(LONG, &mut ready).unwrap();
                assert!(ready[0].writable);
                poller.remove(7);
            }
        };
    }

    reports_what_is_ready!(epoll_reports_what_is_ready, super::Poller);
    reports_what_is_ready!(poll_reports_what_is_ready, super::polled::Poller);
}
