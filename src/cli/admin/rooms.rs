//! `chatlab admin rooms`: rooms, their members with roles, and who is banned.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use chatlab_kit::{
    ids::{RoomId, UserId},
    wire::Role,
};
use serde_json::{Value, json};

use super::{
    Place, ended,
    show::{self, Column, PageOf},
    told, user_of,
};
use crate::{
    app::Operator,
    config,
    service::{
        chat::By,
        ports::{Archive, BanEntry, MemberEntry, RoomEntry, UserEntry},
        vault::Vault,
    },
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Rooms by id
    List(PageOf<RoomId>),
    /// One room: its settings, and how many are in it and banned from it
    Show {
        /// Its id
        room: RoomId,
    },
    /// The members of a room by id, with their roles
    Members {
        /// Its id
        room: RoomId,
        #[command(flatten)]
        page: PageOf<UserId>,
    },
    /// Who is banned from a room, by whom and since when
    Bans {
        /// Its id
        room: RoomId,
        #[command(flatten)]
        page: PageOf<UserId>,
    },
    /// Give a member a role
    Role {
        #[command(flatten)]
        whom: Whom,
        /// `member`, `moderator` or `admin`
        role: Role,
    },
    /// End a membership; they may join again
    Remove(Whom),
    /// End a membership, and let them join no more until `unban`; also who is no member
    Ban(Whom),
    /// End a ban
    Unban(Whom),
    /// Tell a room something; all who are in it read it, as from the server
    Notify {
        /// The room's id
        room: RoomId,
        /// What to say
        text: String,
        /// The keys that the server encrypts texts with, if it does
        #[arg(long, value_name = "FILE", env = "CHATLAB_MESSAGE_KEYS")]
        message_keys: Option<PathBuf>,
    },
}

/// Somebody in a room, or not in it.
#[derive(Debug, clap::Args)]
pub(super) struct Whom {
    /// The room's id
    room: RoomId,
    /// Their name in any case, or their id
    name: String,
}

/// What is done to somebody.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Role(Role),
    Remove,
    Ban,
    Unban,
}

/// Does what was asked.
///
/// # Errors
/// When there is no such room or user, the rules are against it, or what is needed can't be reached.
pub(super) async fn run(verb: Verb, place: &Place) -> anyhow::Result<()> {
    match verb {
        Verb::List(page) => list(place, page).await,
        Verb::Show { room } => show(place, room).await,
        Verb::Members { room, page } => members(place, room, page).await,
        Verb::Bans { room, page } => bans(place, room, page).await,
        Verb::Role { whom, role } => change(place, whom, Deed::Role(role)).await,
        Verb::Remove(whom) => change(place, whom, Deed::Remove).await,
        Verb::Ban(whom) => change(place, whom, Deed::Ban).await,
        Verb::Unban(whom) => change(place, whom, Deed::Unban).await,
        Verb::Notify { room, text, message_keys } => notify(place, room, text, message_keys.as_deref()).await,
    }
}

fn no_room(room: RoomId) -> String {
    format!("there is no room {room}")
}

/// The archive, if it has that room.
async fn with_room(place: &Place, room: RoomId) -> anyhow::Result<(Arc<dyn Archive>, RoomEntry)> {
    let archive = place.archive().await?;
    let entry = archive.room_entry(&room).await?.with_context(|| no_room(room))?;
    Ok((archive, entry))
}

async fn list(place: &Place, page: PageOf<RoomId>) -> anyhow::Result<()> {
    let rooms = place.archive().await?.all_rooms(page.after.as_ref(), page.limit).await?;
    let next = show::next(&rooms, page.limit).map(|room| room.info.room);
    if place.json {
        let all: Vec<Value> = rooms.iter().map(document).collect();
        println!("{}", json!({ "rooms": all, "next": next }));
        return Ok(());
    }
    let row = |room: &RoomEntry| {
        let info = &room.info;
        vec![info.room.to_string(), info.kind.as_str().into(), room.members.to_string(), info.name.clone()]
    };
    let columns =
        [("ID", Column::Whole), ("KIND", Column::Whole), ("MEMBERS", Column::Number), ("NAME", Column::Text)];
    println!("{}", show::table(&columns, rooms.iter().map(row)));
    show::more(next);
    Ok(())
}

fn document(room: &RoomEntry) -> Value {
    json!({
        "room": room.info, "made_by": room.maker, "created_ms": room.created_ms,
        "members": room.members, "bans": room.bans,
    })
}

async fn show(place: &Place, room: RoomId) -> anyhow::Result<()> {
    let (_, entry) = with_room(place, room).await?;
    if place.json {
        println!("{}", document(&entry));
        return Ok(());
    }
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let info = &entry.info;
    let slow = if info.slow_s == 0 { "no".to_owned() } else { format!("a message in {} s", info.slow_s) };
    let mut lines = vec![
        ("name", info.name.clone()),
        ("kind", info.kind.as_str().to_owned()),
        ("made by", entry.maker.clone()),
        ("created", format!("{} UTC", show::instant(entry.created_ms))),
        ("read only", yes(info.read_only)),
        ("slow mode", slow),
        ("by invitation", yes(info.invited)),
    ];
    if let Some(ends_ms) = info.ends_ms {
        let ends = show::instant(i64::try_from(ends_ms).unwrap_or(i64::MAX));
        lines.push(("ends", format!("{ends} UTC")));
    }
    lines.extend([("members", entry.members.to_string()), ("bans", entry.bans.to_string())]);
    println!("{room}");
    for (what, value) in lines {
        println!("{:<15}{value}", format!("{what}:"));
    }
    Ok(())
}

async fn members(place: &Place, room: RoomId, page: PageOf<UserId>) -> anyhow::Result<()> {
    let (archive, _) = with_room(place, room).await?;
    let members = archive.roster(&room, page.after.as_ref(), page.limit).await?;
    let next = show::next(&members, page.limit).map(|member| member.user);
    if place.json {
        println!("{}", json!({ "members": members, "next": next }));
        return Ok(());
    }
    let row = |member: &MemberEntry| {
        vec![member.name.clone(), member.user.to_string(), member.role.as_str().to_owned()]
    };
    let columns = [("NAME", Column::Text), ("ID", Column::Whole), ("ROLE", Column::Whole)];
    println!("{}", show::table(&columns, members.iter().map(row)));
    show::more(next);
    Ok(())
}

async fn bans(place: &Place, room: RoomId, page: PageOf<UserId>) -> anyhow::Result<()> {
    let (archive, _) = with_room(place, room).await?;
    let bans = archive.bans(&room, page.after.as_ref(), page.limit).await?;
    let next = show::next(&bans, page.limit).map(|ban| ban.user);
    if place.json {
        let by = |ban: &BanEntry| ban.by.as_ref().map(|(id, name)| json!({ "id": id, "name": name }));
        let one =
            |ban: &BanEntry| json!({ "id": ban.user, "name": ban.name, "by": by(ban), "at_ms": ban.at_ms });
        println!("{}", json!({ "bans": bans.iter().map(one).collect::<Vec<_>>(), "next": next }));
        return Ok(());
    }
    if bans.is_empty() {
        println!("no bans");
        return Ok(());
    }
    let row = |ban: &BanEntry| {
        let by = ban.by.as_ref().map_or("(operator)", |(_, name)| name.as_str());
        vec![ban.name.clone(), by.to_owned(), show::instant(ban.at_ms)]
    };
    let columns = [("NAME", Column::Text), ("BANNED BY", Column::Text), ("SINCE, UTC", Column::Whole)];
    println!("{}", show::table(&columns, bans.iter().map(row)));
    show::more(next);
    Ok(())
}

async fn change(place: &Place, whom: Whom, deed: Deed) -> anyhow::Result<()> {
    let Whom { room, name } = whom;
    let operator = place.operator(Vault::default()).await.context("nothing is changed")?;
    let done = act(&operator, room, &name, deed).await;
    let user = ended(operator, done).await?;
    let (what, text) = match deed {
        Deed::Role(role) => ("role", format!("has the role {} in", role.as_str())),
        Deed::Remove => ("removed", "is removed from".to_owned()),
        Deed::Ban => ("banned", "is banned from".to_owned()),
        Deed::Unban => ("unbanned", "is no longer banned from".to_owned()),
    };
    if place.json {
        let mut done = json!({ "done": what, "room": room, "user": user.user, "name": user.name });
        if let Deed::Role(role) = deed {
            done["role"] = json!(role);
        }
        println!("{done}");
    } else {
        println!("{} {text} {room}", user.name);
    }
    Ok(())
}

async fn notify(place: &Place, room: RoomId, text: String, keys: Option<&Path>) -> anyhow::Result<()> {
    let vault = config::vault(keys)?;
    let operator = place.operator(vault).await.context("nothing is said")?;
    let said = told(operator.chat.notify(By::Operator, room, text).await);
    let said = ended(operator, said).await?;
    if place.json {
        println!("{}", json!({ "done": "notified", "room": room, "msg": said.id, "seq": said.seq }));
    } else {
        println!("{room} is told, by its message {}", said.seq);
    }
    Ok(())
}

async fn act(operator: &Operator, room: RoomId, name: &str, deed: Deed) -> anyhow::Result<UserEntry> {
    let (chat, archive) = (&operator.chat, &*operator.archive);
    archive.room(&room, None).await?.with_context(|| no_room(room))?;
    let user = user_of(archive, name).await?;
    told(match deed {
        Deed::Role(role) => chat.set_role(By::Operator, room, user.user, role).await,
        Deed::Remove => chat.remove(By::Operator, room, user.user, false).await,
        Deed::Ban => chat.remove(By::Operator, room, user.user, true).await,
        Deed::Unban => chat.unban(By::Operator, room, user.user).await,
    })?;
    Ok(user)
}
