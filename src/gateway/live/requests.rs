//! From a request to its answer.

use std::sync::Arc;

use chatlab_kit::{
    ids::RoomId,
    wire::{AckLevel, ClientFrame, ErrorCode, RequestId, ServerFrame},
};

use super::acks::{self, Sent};
use crate::{
    gateway::{Gateway, fault},
    service::{
        ServiceError, ServiceResult,
        chat::By,
        hub::{
            Connection, WaitPlace,
            frame::{Frame, Mark},
        },
        ports::{ProfileChange, RoomChange},
    },
};

/// Does what a frame asks for and queues the answer, or sees to it that it comes later.
pub(super) async fn handle(
    gateway: &Gateway,
    connection: &Arc<Connection>,
    frame: ClientFrame,
    request: &fault::RequestId,
) -> ServiceResult<()> {
    let (chat, by) = (&gateway.chat, By::Live(connection));
    let reply = match frame {
        ClientFrame::Hello { .. } => {
            return Err(ServiceError::new(ErrorCode::BadState, "hello was said already"));
        }
        ClientFrame::Ping { id } => ServerFrame::Pong { id },
        ClientFrame::Create { id, name } => return chat.create(connection, id, &name).await,
        ClientFrame::Join { id, room, after } => return chat.join(connection, id, room, after).await,
        ClientFrame::Leave { id, room } => return chat.leave(connection, id, room).await,
        stores @ (ClientFrame::Send { .. }
        | ClientFrame::Forward { .. }
        | ClientFrame::Edit { .. }
        | ClientFrame::Delete { .. }
        | ClientFrame::Pin { .. }
        | ClientFrame::React { .. }) => return store(gateway, connection, stores, request).await,
        ClientFrame::Pins { id, room } => {
            ServerFrame::Pins { id, room, messages: chat.pins(by, room).await? }
        }
        ClientFrame::Mark { id, rooms } => ServerFrame::Marks { id, rooms: chat.mark(by, &rooms).await? },
        ClientFrame::History { id, room, before, limit } => {
            let page = chat.page(by, room, before, limit).await?;
            ServerFrame::Page { id, room, messages: page.messages, next: page.next }
        }
        ClientFrame::Search { id, room, query, cursor, limit } => {
            let found = chat.search(by, room, &query, (cursor, limit)).await?;
            ServerFrame::Found { id, room, messages: found.messages, next: found.next }
        }
        ClientFrame::Thread { id, room, msg, cursor, limit } => {
            let found = chat.thread(by, room, msg, (cursor, limit)).await?;
            ServerFrame::Found { id, room, messages: found.messages, next: found.next }
        }
        ClientFrame::Direct { id, user, for_s } => return chat.direct(connection, id, user, for_s).await,
        ClientFrame::Rooms { id, start_after, limit } => {
            let page = chat.rooms(connection.user, start_after, limit).await?;
            ServerFrame::Rooms { id, rooms: page.rooms, next: page.next }
        }
        ClientFrame::Who { id, room, start_after, limit } => {
            let who = chat.who(by, room, start_after, limit).await?;
            ServerFrame::Who { id, room, online: who.online, statuses: who.statuses, next: who.next }
        }
        ClientFrame::Members { id, room, start_after, limit } => {
            let roster = chat.roster(by, room, start_after, limit).await?;
            ServerFrame::Members { id, room, members: roster.members, next: roster.next }
        }
        ClientFrame::Leaders { id, room, days, limit } => {
            ServerFrame::Leaders { id, room, leaders: chat.leaders(by, room, (days, limit)).await? }
        }
        of @ (ClientFrame::Profile { .. }
        | ClientFrame::SetProfile { .. }
        | ClientFrame::Friend { .. }
        | ClientFrame::Friends { .. }
        | ClientFrame::Block { .. }
        | ClientFrame::Blocks { .. }) => of_people(gateway, connection, of).await?,
        does => {
            let (id, room) = act(gateway, connection, does).await?;
            ServerFrame::Ok { id, room, head: None }
        }
    };
    connection.outbox.push(Frame::new(&reply, Mark::None)?);
    Ok(())
}

/// Answers what is asked about users, whichever that is.
async fn of_people(
    gateway: &Gateway,
    connection: &Connection,
    frame: ClientFrame,
) -> ServiceResult<ServerFrame> {
    let (chat, people, by) = (&gateway.chat, &gateway.people, By::Live(connection));
    Ok(match frame {
        ClientFrame::Profile { id, user } => {
            ServerFrame::Profile { id, profile: people.profile(connection.user, user).await? }
        }
        ClientFrame::SetProfile { id, about, status, status_text } => {
            let change = ProfileChange { about, status, status_text };
            ServerFrame::Profile { id, profile: people.set_profile(connection.user, change).await? }
        }
        ClientFrame::Friend { id, user, act } => {
            ServerFrame::Friends { id, friends: people.friend(connection.user, user, act).await? }
        }
        ClientFrame::Friends { id } => {
            ServerFrame::Friends { id, friends: people.friends(connection.user).await? }
        }
        ClientFrame::Block { id, user, on } => {
            ServerFrame::Blocks { id, users: chat.block(by, user, on).await? }
        }
        ClientFrame::Blocks { id } => ServerFrame::Blocks { id, users: chat.blocks(by).await? },
        other => return Err(ServiceError::internal(format!("`{}` is about no user", name_of(&other)))),
    })
}

/// Does in a room what a frame asks for, of which there is nothing more to say than that it is done.
async fn act(
    gateway: &Gateway,
    connection: &Connection,
    frame: ClientFrame,
) -> ServiceResult<(RequestId, RoomId)> {
    let (chat, by) = (&gateway.chat, By::Live(connection));
    match frame {
        ClientFrame::Role { id, room, user, role } => {
            chat.set_role(by, room, user, role).await?;
            Ok((id, room))
        }
        ClientFrame::Add { id, room, user } => {
            chat.add(by, room, user).await?;
            Ok((id, room))
        }
        ClientFrame::Remove { id, room, user, ban } => {
            chat.remove(by, room, user, ban).await?;
            Ok((id, room))
        }
        ClientFrame::Unban { id, room, user } => {
            chat.unban(by, room, user).await?;
            Ok((id, room))
        }
        ClientFrame::Settings { id, room, name, read_only, slow_s, invited } => {
            let change = RoomChange { name, read_only, slow_s, invited };
            chat.set_room(by, room, change).await?;
            Ok((id, room))
        }
        ClientFrame::End { id, room } => {
            chat.end(by, room).await?;
            Ok((id, room))
        }
        ClientFrame::Typing { id, room, on } => {
            chat.typing(by, room, on).await?;
            Ok((id, room))
        }
        other => Err(ServiceError::internal(format!("`{}` is no act", name_of(&other)))),
    }
}

/// Stores the message that a frame asks for, whichever that is, and sees to its `ack`.
async fn store(
    gateway: &Gateway,
    connection: &Arc<Connection>,
    frame: ClientFrame,
    request: &fault::RequestId,
) -> ServiceResult<()> {
    let (chat, by, place) = (&gateway.chat, By::Live(connection), |level| place_for(connection, level));
    let (sent, place) = match frame {
        ClientFrame::Send { id, room, cid, kind, body, reply_to, level } => {
            let place = place(level)?;
            let stored = chat.send(by, room, cid.clone(), (kind, reply_to), body).await?;
            (Sent { id, room, cid, stored, wanted: level }, place)
        }
        ClientFrame::Forward { id, room, cid, from, msg, level } => {
            let place = place(level)?;
            let stored = chat.forward(by, room, cid.clone(), (from, msg)).await?;
            (Sent { id, room, cid, stored, wanted: level }, place)
        }
        ClientFrame::Edit { id, room, cid, msg, body, level } => {
            let place = place(level)?;
            let stored = chat.edit(by, room, cid.clone(), msg, body).await?;
            (Sent { id, room, cid, stored, wanted: level }, place)
        }
        ClientFrame::Delete { id, room, cid, msg, level } => {
            let place = place(level)?;
            let stored = chat.delete(by, room, cid.clone(), msg).await?;
            (Sent { id, room, cid, stored, wanted: level }, place)
        }
        ClientFrame::Pin { id, room, cid, msg, on, level } => {
            let place = place(level)?;
            let stored = chat.pin(by, room, cid.clone(), msg, on).await?;
            (Sent { id, room, cid, stored, wanted: level }, place)
        }
        ClientFrame::React { id, room, cid, msg, emoji, on, level } => {
            let place = place(level)?;
            let stored = chat.react(by, room, cid.clone(), msg, (emoji, on)).await?;
            (Sent { id, room, cid, stored, wanted: level }, place)
        }
        other => return Err(ServiceError::internal(format!("`{}` stores nothing", name_of(&other)))),
    };
    answer(gateway, connection, sent, place, request);
    Ok(())
}

/// A place among those who wait for a level, before anything is stored: who may not wait is told so at once.
fn place_for(connection: &Arc<Connection>, level: AckLevel) -> ServiceResult<Option<WaitPlace>> {
    (!level.is_memory()).then(|| connection.place_to_wait()).transpose()
}

/// Queues the `ack` of what was stored, or sees to it that it comes later.
fn answer(
    gateway: &Gateway,
    connection: &Arc<Connection>,
    sent: Sent,
    place: Option<WaitPlace>,
    request: &fault::RequestId,
) {
    match place {
        None => super::push(&connection.outbox, &sent.ack(AckLevel::Memory)),
        Some(place) => acks::later(gateway, connection, sent, place, request.clone()),
    }
}

/// The type of a frame, for the log.
pub(super) fn name_of(frame: &ClientFrame) -> &'static str {
    match frame {
        ClientFrame::Hello { .. } => "hello",
        ClientFrame::Ping { .. } => "ping",
        ClientFrame::Create { .. } => "create",
        ClientFrame::Join { .. } => "join",
        ClientFrame::Leave { .. } => "leave",
        ClientFrame::Send { .. } => "send",
        ClientFrame::Forward { .. } => "forward",
        ClientFrame::Edit { .. } => "edit",
        ClientFrame::Delete { .. } => "delete",
        ClientFrame::Pin { .. } => "pin",
        ClientFrame::React { .. } => "react",
        ClientFrame::Pins { .. } => "pins",
        ClientFrame::Mark { .. } => "mark",
        ClientFrame::History { .. } => "history",
        ClientFrame::Search { .. } => "search",
        ClientFrame::Thread { .. } => "thread",
        ClientFrame::Who { .. } => "who",
        ClientFrame::Members { .. } => "members",
        ClientFrame::Role { .. } => "role",
        ClientFrame::Remove { .. } => "remove",
        ClientFrame::Unban { .. } => "unban",
        ClientFrame::Add { .. } => "add",
        ClientFrame::Settings { .. } => "settings",
        ClientFrame::Direct { .. } => "direct",
        ClientFrame::End { .. } => "end",
        ClientFrame::Rooms { .. } => "rooms",
        ClientFrame::Block { .. } => "block",
        ClientFrame::Blocks { .. } => "blocks",
        ClientFrame::Profile { .. } => "profile",
        ClientFrame::SetProfile { .. } => "set_profile",
        ClientFrame::Friend { .. } => "friend",
        ClientFrame::Friends { .. } => "friends",
        ClientFrame::Leaders { .. } => "leaders",
        ClientFrame::Typing { .. } => "typing",
    }
}

/// The number that the answer to a frame carries.
pub(super) fn id_of(frame: &ClientFrame) -> Option<RequestId> {
    match frame {
        ClientFrame::Hello { .. } => None,
        ClientFrame::Ping { id }
        | ClientFrame::Create { id, .. }
        | ClientFrame::Join { id, .. }
        | ClientFrame::Leave { id, .. }
        | ClientFrame::Send { id, .. }
        | ClientFrame::Forward { id, .. }
        | ClientFrame::Edit { id, .. }
        | ClientFrame::Delete { id, .. }
        | ClientFrame::Pin { id, .. }
        | ClientFrame::React { id, .. }
        | ClientFrame::Pins { id, .. }
        | ClientFrame::Mark { id, .. }
        | ClientFrame::History { id, .. }
        | ClientFrame::Search { id, .. }
        | ClientFrame::Thread { id, .. }
        | ClientFrame::Who { id, .. }
        | ClientFrame::Members { id, .. }
        | ClientFrame::Role { id, .. }
        | ClientFrame::Remove { id, .. }
        | ClientFrame::Unban { id, .. }
        | ClientFrame::Add { id, .. }
        | ClientFrame::Settings { id, .. }
        | ClientFrame::Direct { id, .. }
        | ClientFrame::End { id, .. }
        | ClientFrame::Rooms { id, .. }
        | ClientFrame::Block { id, .. }
        | ClientFrame::Blocks { id }
        | ClientFrame::Profile { id, .. }
        | ClientFrame::SetProfile { id, .. }
        | ClientFrame::Friend { id, .. }
        | ClientFrame::Friends { id }
        | ClientFrame::Leaders { id, .. }
        | ClientFrame::Typing { id, .. } => Some(*id),
    }
}
