//! Addresses of servers become addresses of the proxy.

use std::collections::HashMap;

use crate::resp::{Kind, Limits, Reply, Scanner, Text, encode};

/// Nothing is cut: the frame is bounded already.
const WHOLE: Limits = Limits { text: usize::MAX, values: usize::MAX };

/// Where servers are found instead.
pub(super) struct Rewriter<'a> {
    /// Server to listener, both `host:port`.
    pub(super) routes: &'a HashMap<String, String>,
    /// The host of the server that speaks: it may leave its own out.
    pub(super) own_host: &'a str,
}

impl Rewriter<'_> {
    /// The frame with the proxy's addresses; as it is when it has none.
    pub(super) fn frame(&self, raw: &[u8]) -> Vec<u8> {
        let Ok((_, Some(mut value))) = Scanner::new(WHOLE).feed(raw) else { return raw.to_vec() };
        match &mut value {
            Reply::Error(text) => self.redirect(text),
            Reply::Bulk(text) | Reply::Verbatim(text) => self.node_lines(text),
            Reply::Items(_, items) => items.items.iter_mut().for_each(|item| self.item(item)),
            _ => return raw.to_vec(),
        }
        let mut out = Vec::with_capacity(raw.len());
        encode(&value, &mut out);
        out
    }

    fn route(&self, host: &str, port: &str) -> Option<(&str, &str)> {
        let host = if host.is_empty() || host == "?" { self.own_host } else { host };
        self.routes.get(&format!("{host}:{port}"))?.rsplit_once(':')
    }

    /// `MOVED 866 127.0.0.1:7001`
    fn redirect(&self, text: &mut Text) {
        let line = String::from_utf8_lossy(&text.bytes).into_owned();
        if let Some((head, address)) = line.rsplit_once(' ')
            && let Some((host, port)) = address.rsplit_once(':')
            && let Some((host, port)) = self.route(host, port)
        {
            *text = whole(format!("{head} {host}:{port}").into_bytes());
        }
    }

    /// Lines of `CLUSTER NODES`: `id host:port@bus,hostname flags …`
    fn node_lines(&self, text: &mut Text) {
        let lines = String::from_utf8_lossy(&text.bytes).into_owned();
        let label = if lines.starts_with("txt:") { "txt:" } else { "" };
        let mut out = label.to_owned();
        for line in lines[label.len()..].split_inclusive('\n') {
            out.push_str(&self.node_line(line).unwrap_or_else(|| line.to_owned()));
        }
        *text = whole(out.into_bytes());
    }

    fn node_line(&self, line: &str) -> Option<String> {
        let (id, rest) = line.split_once(' ')?;
        let (address, rest) = rest.split_once(' ')?;
        let (client, bus) = address.split_once('@')?;
        let (host, port) = client.rsplit_once(':')?;
        let (host, port) = self.route(host, port)?;
        Some(format!("{id} {host}:{port}@{bus} {rest}"))
    }

    /// In `CLUSTER SLOTS` a node is an array that begins with host and port; in `CLUSTER SHARDS` a map, or in RESP2 an
    /// array of names and values; of `CLUSTER REPLICAS` each item is a line of `CLUSTER NODES`.
    fn item(&self, item: &mut Reply) {
        match item {
            Reply::Bulk(text) => self.node_lines(text),
            Reply::Items(_, items) => {
                let items = &mut items.items;
                if !self.shards_node(items) && !self.slots_node(items) {
                    items.iter_mut().for_each(|item| self.item(item));
                }
            }
            _ => {}
        }
    }

    fn slots_node(&self, items: &mut [Reply]) -> bool {
        let [host, Reply::Int(port), Reply::Bulk(_), ..] = items else { return false };
        let name = match host {
            Reply::Nil(_) => "",
            Reply::Bulk(text) => std::str::from_utf8(&text.bytes).unwrap_or_default(),
            _ => return false,
        };
        if let Some((name, number)) = self.route(name, &port.to_string()) {
            *port = number.parse().unwrap_or(*port);
            *host = Reply::Bulk(whole(name.as_bytes().to_vec()));
        }
        true
    }

    fn shards_node(&self, items: &mut [Reply]) -> bool {
        let value_of = |items: &[Reply], name: &[u8]| {
            items.chunks(2).position(|pair| pair[0].text() == Some(name)).map(|at| at * 2 + 1)
        };
        let (Some(ip), Some(port)) = (value_of(items, b"ip"), value_of(items, b"port")) else { return false };
        let host = items.get(ip).and_then(Reply::text).unwrap_or_default();
        let host = String::from_utf8_lossy(host).into_owned();
        let Some(Reply::Int(number)) = items.get(port) else { return true };
        if let Some((host, number)) = self.route(&host, &number.to_string()) {
            items[port] = Reply::Int(number.parse().unwrap_or_default());
            for at in [Some(ip), value_of(items, b"endpoint")].into_iter().flatten() {
                if let Some(slot) = items.get_mut(at) {
                    *slot = Reply::Bulk(whole(host.as_bytes().to_vec()));
                }
            }
        }
        true
    }
}

fn whole(bytes: Vec<u8>) -> Text {
    Text { len: bytes.len(), bytes }
}

/// Whether a value of this kind can tell addresses at all.
pub(super) fn can_tell(value: &Reply) -> bool {
    !matches!(value, Reply::Int(_) | Reply::Nil(_) | Reply::Items(Kind::Push, _))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(raw: &str) -> String {
        let routes = HashMap::from([
            ("127.0.0.1:7000".to_owned(), "127.0.0.1:9000".to_owned()),
            ("127.0.0.1:7001".to_owned(), "127.0.0.1:9001".to_owned()),
        ]);
        let rewriter = Rewriter { routes: &routes, own_host: "127.0.0.1" };
        String::from_utf8(rewriter.frame(raw.as_bytes())).unwrap()
    }

    #[test]
    fn redirects_lead_back() {
        assert_eq!(rewritten("-MOVED 866 127.0.0.1:7001\r\n"), "-MOVED 866 127.0.0.1:9001\r\n");
        assert_eq!(rewritten("-ASK 866 :7000\r\n"), "-ASK 866 127.0.0.1:9000\r\n");
        assert_eq!(rewritten("-MOVED 866 10.0.0.9:7001\r\n"), "-MOVED 866 10.0.0.9:7001\r\n");
    }

    #[test]
    fn the_three_ways_of_listing_nodes_are_rewritten() {
        let slots = "*1\r\n*3\r\n:0\r\n:5\r\n*4\r\n$9\r\n127.0.0.1\r\n:7000\r\n$2\r\nid\r\n*0\r\n";
        assert_eq!(rewritten(slots), slots.replace("7000", "9000"));
        let unknown = "*1\r\n*3\r\n:0\r\n:5\r\n*3\r\n$-1\r\n:7001\r\n$2\r\nid\r\n";
        assert!(rewritten(unknown).contains("$9\r\n127.0.0.1\r\n:9001"));
        for (map, array) in [("%2", "*4"), ("%3", "*6")] {
            let host = if map == "%2" { "" } else { "$8\r\nendpoint\r\n$9\r\n127.0.0.1\r\n" };
            for head in [map, array] {
                let shards = format!(
                    "*1\r\n*2\r\n$5\r\nnodes\r\n*1\r\n{head}\r\n$4\r\nport\r\n:7001\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n{host}"
                );
                assert_eq!(rewritten(&shards), shards.replace("7001", "9001"));
            }
        }
        let nodes = "aa 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-5\nbb 127.0.0.1:7001@17001,h slave aa 0 0 1 connected\n";
        let frame = format!("${}\r\n{nodes}\r\n", nodes.len());
        assert_eq!(rewritten(&frame), frame.replace(":7000", ":9000").replace(":7001", ":9001"));
        let verbatim = format!("={}\r\ntxt:{nodes}\r\n", nodes.len() + 4);
        assert_eq!(rewritten(&verbatim), verbatim.replace(":7000", ":9000").replace(":7001", ":9001"));
    }
}
