//! How each fault is done, and how it ends: what it was, and when it was mended.

use std::{
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use chatlab_kit::servers::{
    Managed, Role, inspect, poll, process,
    reshard::{SlotMove, owners},
};
use chatlab_kit::slots::Partition;
use rand::Rng;
use rustix::process::Signal;
use sqlx::{Connection, Executor, SqliteConnection};

use super::faults::{Breaker, Death};
use crate::common::{SOON, ask, nodes_of, replicated, until_role};

/// Between two blows at subscribers.
const BLOW: Duration = Duration::from_millis(100);
/// How long a master goes on without its replica before it dies, where it does.
const BEHIND: Duration = Duration::from_millis(250);
/// Keys that one step of a moved slot carries: few, so that it is met half moved.
const KEYS_A_STEP: usize = 8;
/// How long a cluster may take to be whole again.
const WHOLE: Duration = Duration::from_secs(30);
/// The tables of the archive.
const TABLES: [&str; 5] = ["users", "rooms", "members", "messages", "audit"];

type Mended = (String, Instant);

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// The sleeps here are the faults: for so long, by `Lengths`, the thing is broken.
impl Breaker<'_> {
    fn mended(&self, how: impl Into<String>) -> Mended {
        (how.into(), self.world.mended())
    }

    /// Runs what blocks on a thread of its own.
    async fn managed<T: Send + 'static>(&self, work: impl FnOnce(&Managed) -> T + Send + 'static) -> T {
        let managed = self.stack.shared_managed();
        tokio::task::spawn_blocking(move || work(&managed)).await.unwrap()
    }

    fn nodes(&self) -> usize {
        self.stack.managed().nodes().len()
    }

    pub async fn kill_subscribers(&mut self) -> Mended {
        let until = Instant::now() + self.lengths.subscribers;
        let mut killed = 0;
        loop {
            for node in 0..self.nodes() {
                let mut kill = redis::cmd("CLIENT");
                killed += ask::<u64>(self.stack, node, kill.arg("KILL").arg("TYPE").arg("pubsub")).await;
            }
            if Instant::now() >= until {
                break;
            }
            tokio::time::sleep(BLOW).await;
        }
        assert!(killed > 0, "nobody subscribes");
        self.mended(format!("{killed} connections"))
    }

    pub async fn pause_clients(&mut self) -> Mended {
        let what = if self.rng.random::<bool>() { "ALL" } else { "WRITE" };
        let paused_ms = self.lengths.paused.as_millis() as u64;
        for node in 0..self.nodes() {
            let mut pause = redis::cmd("CLIENT");
            let _: String = ask(self.stack, node, pause.arg("PAUSE").arg(paused_ms).arg(what)).await;
        }
        tokio::time::sleep(self.lengths.paused).await;
        self.mended(what)
    }

    pub async fn kill_server(&mut self) -> Mended {
        let server = self.rng.random_range(0..self.stack.servers());
        self.stack.kill_server(server).await.unwrap();
        tokio::time::sleep(self.lengths.server).await;
        self.stack.restart_server(server).await.unwrap();
        self.mended(format!("server {server}"))
    }

    fn archive(&self) -> PathBuf {
        self.stack.managed().folder().join("chatlab.db")
    }

    pub async fn lock_sql(&mut self) -> Mended {
        let url = format!("sqlite:{}", self.archive().display());
        let mut other = SqliteConnection::connect(&url).await.unwrap();
        other.execute("BEGIN IMMEDIATE").await.unwrap();
        tokio::time::sleep(self.lengths.sql).await;
        other.execute("ROLLBACK").await.unwrap();
        other.close().await.unwrap();
        self.mended("no writes")
    }

    /// There is no server that could be away: the file's tables get other names, so that every statement fails.
    pub async fn remove_sql(&mut self) -> Mended {
        let url = format!("sqlite:{}", self.archive().display());
        let mut other = SqliteConnection::connect(&url).await.unwrap();
        rename_tables(&mut other, "", "_away").await;
        tokio::time::sleep(self.lengths.sql).await;
        rename_tables(&mut other, "_away", "").await;
        other.close().await.unwrap();
        self.mended("no tables")
    }

    /// Everything is in the append-only file before it is acknowledged, so nothing may be lost.
    pub async fn restart_redis(&mut self) -> Mended {
        let crash: bool = self.rng.random();
        let room = self.some_room();
        let (node, down) = match self.nodes() {
            1 => (0, self.lengths.redis),
            _ => (nodes_of(self.stack, room).await.0, self.lengths.restart),
        };
        self.managed(move |managed| {
            if !crash {
                assert!(process::signal(managed.pid(node).unwrap(), Signal::TERM));
                let gone = || if managed.pid(node).is_none() { Ok(()) } else { Err("it runs".to_owned()) };
                poll(SOON, gone).expect("stopped");
            }
            managed.kill_node(node).unwrap();
            std::thread::sleep(down);
            managed.restart_node(node).unwrap();
            if managed.nodes().len() > 1 {
                let role = inspect(managed.nodes()[node].port).unwrap().role;
                assert_eq!(role, Role::Master, "the machine was too slow: it was taken for dead");
            }
        })
        .await;
        let since = self.mended(format!("node {node}, {}", if crash { "kill -9" } else { "SIGTERM" }));
        self.managed(|managed| managed.await_whole(WHOLE).unwrap()).await;
        since
    }

    pub async fn failover(&mut self) -> Mended {
        let room = self.some_room();
        let (master, replica) = nodes_of(self.stack, room).await;
        let _: String = ask(self.stack, replica, redis::cmd("CLUSTER").arg("FAILOVER")).await;
        until_role(self.stack, replica, Role::Master).await;
        self.mended(format!("node {replica} for {master}"))
    }

    pub async fn move_slots(&mut self) -> Mended {
        let addrs = self.stack.managed().addrs();
        let mut moved = Vec::new();
        for room in self.world.rooms.clone() {
            let slot = Partition::of(&room).slot();
            let owners = owners(&addrs).await.unwrap();
            let owner = owners.iter().position(|owner| owner.owns(slot)).unwrap();
            let to = &owners[(owner + self.rng.random_range(1..owners.len())) % owners.len()].address;
            let mut moving = SlotMove::begin(&addrs, slot, to).await.unwrap();
            let mut keys = 0;
            loop {
                match moving.move_keys(KEYS_A_STEP).await.unwrap() {
                    0 => break,
                    some => keys += some,
                }
            }
            moving.finish().await.unwrap();
            moved.push(format!("{slot} with {keys} keys"));
        }
        self.mended(moved.join(", "))
    }

    /// If its replica is behind when it dies, what was said meanwhile is lost; else next to nothing, if anything.
    pub async fn kill_master(&mut self) -> Mended {
        let (room, behind) = (self.some_room(), self.behind);
        let (master, replica) = nodes_of(self.stack, room).await;
        let all = owners(&self.stack.managed().addrs()).await.unwrap();
        let address = self.stack.managed().nodes()[master].addr();
        let slots = all.into_iter().find(|owner| owner.address == address).unwrap().ranges;
        let from_ms = replicated(self.stack, room, master).await;
        if behind {
            self.stack.managed().pause_node(replica).unwrap();
            let mut cut = redis::cmd("CLIENT");
            let cut: u64 = ask(self.stack, master, cut.arg("KILL").arg("TYPE").arg("replica")).await;
            assert_eq!(cut, 1);
            tokio::time::sleep(BEHIND).await;
        }
        self.managed(move |managed| managed.kill_node(master).unwrap()).await;
        let until_ms = now_ms();
        self.world.deaths.0.lock().unwrap().push(Death { slots, from_ms, until_ms });
        if behind {
            self.stack.managed().resume_node(replica).unwrap();
        }
        until_role(self.stack, replica, Role::Master).await;
        let since = self.mended(format!(
            "node {master}, {} and {} ms unreplicated",
            if behind { "its replica cut off" } else { "its replica at hand" },
            until_ms - from_ms
        ));
        tokio::time::sleep(self.lengths.master).await;
        self.managed(move |managed| {
            managed.restart_node(master).unwrap();
            managed.await_whole(WHOLE).unwrap();
        })
        .await;
        since
    }
}

async fn rename_tables(archive: &mut SqliteConnection, from: &str, to: &str) {
    let mut transaction = archive.begin_with("BEGIN IMMEDIATE").await.unwrap();
    for table in TABLES {
        let rename = format!("ALTER TABLE {table}{from} RENAME TO {table}{to}");
        transaction.execute(sqlx::AssertSqlSafe(rename)).await.unwrap();
    }
    transaction.commit().await.unwrap();
}
