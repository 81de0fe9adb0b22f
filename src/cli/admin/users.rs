//! `chatlab admin users`: who has an account, where they are members, and their log-ins.

use anyhow::Context;
use chatlab_kit::wire::{Role, RoomInfo};
use chatlab_sessions::Session;
use serde_json::{Value, json};

use super::{
    Place, ended,
    show::{self, Column, PageOf},
    told, user_of,
};
use crate::service::{ports::UserEntry, vault::Vault};

/// The most rooms of one user that are shown.
const MAX_ROOMS: u32 = 1_000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Users by name
    List(PageOf<String>),
    /// One user: rooms with roles; with the server's Redis also the log-ins
    Show {
        /// Their name in any case, or their id
        name: String,
    },
    /// End all log-ins of a user, and close their connections everywhere
    Logout {
        /// Their name in any case, or their id
        name: String,
    },
}

/// Does what was asked.
///
/// # Errors
/// When there is no such user, or what is needed can't be reached.
pub(super) async fn run(verb: Verb, place: &Place) -> anyhow::Result<()> {
    match verb {
        Verb::List(page) => list(place, page).await,
        Verb::Show { name } => show(place, &name).await,
        Verb::Logout { name } => log_out(place, &name).await,
    }
}

async fn list(place: &Place, page: PageOf<String>) -> anyhow::Result<()> {
    let users = place.archive().await?.users(page.after.as_deref(), page.limit).await?;
    let next = show::next(&users, page.limit).map(|user| &user.name);
    if place.json {
        let all: Vec<Value> = users.iter().map(document).collect();
        println!("{}", json!({ "users": all, "next": next }));
        return Ok(());
    }
    let row =
        |user: &UserEntry| vec![user.name.clone(), user.user.to_string(), show::instant(user.created_ms)];
    let columns = [("NAME", Column::Text), ("ID", Column::Whole), ("CREATED, UTC", Column::Whole)];
    println!("{}", show::table(&columns, users.iter().map(row)));
    show::more(next);
    Ok(())
}

fn document(user: &UserEntry) -> Value {
    json!({ "id": user.user, "name": user.name, "created_ms": user.created_ms })
}

async fn show(place: &Place, name: &str) -> anyhow::Result<()> {
    let archive = place.archive().await?;
    let user = user_of(&*archive, name).await?;
    let rooms = archive.memberships(&user.user, None, MAX_ROOMS).await?;
    let sessions = match place.redis {
        Some(_) => Some(sessions(place, &user).await?),
        None => None,
    };
    let more = rooms.len() >= MAX_ROOMS as usize;
    if place.json {
        let mut shown = document(&user);
        shown["rooms"] = rooms.iter().map(|(info, role)| json!({ "room": info, "role": role })).collect();
        shown["more_rooms"] = more.into();
        shown["sessions"] = sessions.map(|all| all.iter().map(session).collect()).unwrap_or_default();
        println!("{shown}");
        return Ok(());
    }
    println!("{}\nid:      {}\ncreated: {} UTC", user.name, user.user, show::instant(user.created_ms));
    print_rooms(&rooms, more);
    print_sessions(sessions.as_deref());
    Ok(())
}

async fn sessions(place: &Place, user: &UserEntry) -> anyhow::Result<Vec<Session>> {
    let operator = place.operator(Vault::default()).await?;
    let sessions = told(operator.accounts.sessions(&user.user).await);
    ended(operator, sessions).await
}

fn session(session: &Session) -> Value {
    json!({ "device": session.device, "created_ms": session.created_ms, "expires_ms": session.expires_ms })
}

fn print_rooms(rooms: &[(RoomInfo, Role)], more: bool) {
    if rooms.is_empty() {
        println!("\nno rooms");
        return;
    }
    let row = |(info, role): &(RoomInfo, Role)| {
        vec![
            info.room.to_string(),
            info.kind.as_str().to_owned(),
            role.as_str().to_owned(),
            info.name.clone(),
        ]
    };
    let columns =
        [("ROOM", Column::Whole), ("KIND", Column::Whole), ("ROLE", Column::Whole), ("NAME", Column::Text)];
    println!("\n{}", show::table(&columns, rooms.iter().map(row)));
    if more {
        println!("these are the first {MAX_ROOMS}");
    }
}

fn print_sessions(sessions: Option<&[Session]>) {
    let Some(sessions) = sessions else {
        println!("\nlog-ins: the server's Redis knows them: give --redis-url or --redis-nodes");
        return;
    };
    if sessions.is_empty() {
        println!("\nno log-ins");
        return;
    }
    let at = |ms: u64| show::instant(i64::try_from(ms).unwrap_or(i64::MAX));
    let row =
        |session: &Session| vec![session.device.clone(), at(session.created_ms), at(session.expires_ms)];
    let columns =
        [("DEVICE", Column::Text), ("LOGGED IN, UTC", Column::Whole), ("ENDS UNUSED", Column::Whole)];
    println!("\n{}", show::table(&columns, sessions.iter().map(row)));
}

async fn log_out(place: &Place, name: &str) -> anyhow::Result<()> {
    let operator = place.operator(Vault::default()).await.context("nothing is changed")?;
    let done = async {
        let user = user_of(&*operator.archive, name).await?;
        let ended = told(operator.accounts.log_out_by_operator(user.user).await)
            .with_context(|| format!("log-ins of {}", user.name))?;
        anyhow::Ok((user, ended))
    };
    let done = done.await;
    let (user, count) = ended(operator, done).await?;
    if place.json {
        println!("{}", json!({ "user": user.user, "name": user.name, "ended": count }));
    } else {
        println!("{}: {count} log-in{} ended", user.name, if count == 1 { "" } else { "s" });
    }
    Ok(())
}
