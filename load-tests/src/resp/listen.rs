//! Listeners: connections of their own that subscribe to one channel each and check what comes.

use std::{io, net::TcpStream, time::Duration};

use super::{
    answers::{channel_slot, is_nothing},
    codec::{Items, Reply},
    commands::Op,
    conn::Input,
    nodes::{Admin, dial},
    shard::{LISTENER, Shard},
};
use crate::{
    ledger::Seen,
    payload::{BadPayload, Payload},
    recorder::Instants,
};

/// How long subscribing may take.
const SUBSCRIBE_BOUND: Duration = Duration::from_secs(5);

/// One of them.
#[derive(Debug)]
pub(super) struct Listener {
    /// None when it is gone.
    stream: Option<TcpStream>,
    input: Input,
    channel: u64,
    /// In the ledger.
    subscription: usize,
}

impl Shard {
    /// Opens this thread's listeners and waits until each is subscribed.
    pub fn listen(&mut self, number: usize) -> io::Result<()> {
        let shared = self.shared.clone();
        let commands = &shared.plan.commands;
        let Some(op) = commands.publishes() else { return Ok(()) };
        let owners = self.map.owners();
        for nth in (number..commands.listeners).step_by(shared.plan.threads) {
            let channel = (nth % commands.channels) as u64;
            let node = match op {
                Op::SPublish => self.map.owner(channel_slot(op, channel)),
                // Anywhere: a classic publish goes to every node.
                _ => owners.get(nth % owners.len().max(1)).copied(),
            };
            let node = node.ok_or_else(|| io::Error::other("no node for a channel"))?;
            let address = &self.nodes[node].address;
            let verb = if op == Op::SPublish { "SSUBSCRIBE" } else { "SUBSCRIBE" };
            let stream = subscribe(address, verb, &op.key(channel))?;
            self.poller.add(&stream, LISTENER | self.listeners.len() as u64)?;
            let subscription = self.tally.ledger.subscribe(channel as u32, Some("1"), 0);
            self.listeners.push(Listener {
                stream: Some(stream),
                input: Input::default(),
                channel,
                subscription,
            });
        }
        Ok(())
    }

    /// Reads once and checks everything that is whole.
    pub fn hear(&mut self, which: usize) {
        let Some(listener) = self.listeners.get_mut(which) else { return };
        let Some(stream) = &listener.stream else { return };
        let lost = match listener.input.fill(stream) {
            Ok(0) => Some("listener: closed by the server".to_owned()),
            Ok(_) => None,
            Err(error) if is_nothing(&error) => return,
            Err(error) => Some(format!("listener: read: {}", error.kind())),
        };
        if let Some(why) = lost {
            return self.deafen(which, &why);
        }
        self.now_ns = self.shared.now_ns();
        let mut input = std::mem::take(&mut listener.input);
        let (channel, subscription) = (listener.channel, listener.subscription);
        let wrong = loop {
            match input.next() {
                Ok(Some(Reply::Items(items))) => self.message(channel, subscription, items),
                Ok(Some(_)) => self.tally.error("listener: no message"),
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
            }
        };
        match wrong {
            Some(why) => self.deafen(which, &why),
            None => self.listeners[which].input = input,
        }
    }

    /// Closes a listener that is of no more use: what it misses from now on is lost, and the ledger says so.
    fn deafen(&mut self, which: usize, why: &str) {
        self.tally.disconnects += 1;
        self.tally.error(why);
        self.poller.remove(LISTENER | which as u64);
        self.listeners[which].stream = None;
    }

    /// `message CHANNEL PAYLOAD`, or `smessage`.
    fn message(&mut self, channel: u64, subscription: usize, items: Items<'_>) {
        let mut items = items.iter();
        let (Some(Reply::Bulk(kind)), Some(_), Some(last)) = (items.next(), items.next(), items.next())
        else {
            return self.tally.error("listener: no message");
        };
        let body = match (kind, last) {
            (b"message" | b"smessage", Reply::Bulk(body)) => body,
            (b"sunsubscribe", _) => {
                return self.tally.error("listener: the server ended the subscription, its slot has moved");
            }
            _ => return self.tally.error("listener: no message"),
        };
        match Payload::parse(body) {
            Ok(payload) if payload.run != self.shared.run => self.tally.ledger.counts.foreign += 1,
            Ok(payload) if u64::from(payload.room) != channel => self.tally.ledger.counts.misrouted += 1,
            Ok(payload) => {
                let seen = self.tally.ledger.deliver(subscription, "1", u64::from(payload.number));
                if matches!(seen, Seen::Fresh | Seen::Late) {
                    self.delivered += 1;
                    self.note_delivery(payload.intended_ns);
                }
            }
            Err(BadPayload::Corrupt) => self.tally.ledger.counts.corrupt += 1,
            Err(BadPayload::Foreign) => self.tally.ledger.counts.foreign += 1,
        }
    }

    fn note_delivery(&mut self, intended_ns: u64) {
        let Some(window) = self.shared.window() else { return };
        if (window.start_ns..window.end_ns).contains(&intended_ns) {
            let third = self.shared.third(intended_ns);
            self.tally.delivered_measured += 1;
            let at = Instants { intended_ns, sent_ns: intended_ns, done_ns: self.now_ns };
            self.shared.eye.done_ns(at.response_ns());
            self.tally.recorder.delivered(third, at);
        }
    }
}

fn subscribe(address: &str, verb: &str, channel: &str) -> io::Result<TcpStream> {
    let stream = dial(address, SUBSCRIBE_BOUND)?;
    let mut admin = Admin::over(stream)?;
    admin.call(&[verb, channel], |_| ())?;
    let stream = admin.into_stream();
    stream.set_nonblocking(true)?;
    Ok(stream)
}
