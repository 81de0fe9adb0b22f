//! What a line means. `/` begins a command, `//` a text with a slash.

use chatlab_kit::{
    message::{MAX_PAGE, Seq},
    wire::{FriendAct, MAX_LEADER_DAYS, Status},
};

/// The messages of `/history` when nothing else is said.
pub const HISTORY_LINES: u32 = 20;
/// So many letters may be wrong in a command for it to be named as what was meant.
const MISTYPED_MAX: usize = 2;

/// A command: its name, its arguments and what it does.
type Known = (&'static str, &'static str, &'static str);

/// Every command.
pub const COMMANDS: [Known; 26] = [
    ("help", "", "this list"),
    ("rooms", "", "the rooms that you are in"),
    ("join", "ROOM", "talk in a room: its name, if you are in it, or its id"),
    ("create", "NAME", "make a room and talk in it"),
    ("direct", "USER", "the direct chat with somebody: a name or an id"),
    ("who", "", "who of the room is online"),
    ("members", "", "who is in the room, their roles and ids"),
    ("history", "[N]", "the last N messages"),
    ("reply", "N TEXT", "answer message N"),
    ("edit", "N TEXT", "give a message of yours another text"),
    ("delete", "N", "take the text out of message N"),
    ("react", "N EMOJI", "react to message N"),
    ("unreact", "N EMOJI", "take that back"),
    ("pin", "N", "pin message N"),
    ("unpin", "N", "take the pin away"),
    ("pins", "", "the pinned messages"),
    ("search", "WORDS", "find messages with all of these words"),
    ("leaders", "[DAYS]", "who has written most here lately"),
    ("profile", "[USER]", "what somebody shows of themselves, or you"),
    ("status", "WORD [TEXT]", "be available, busy, away or invisible"),
    ("about", "[TEXT]", "say something about yourself"),
    ("friends", "", "your friends, and who asks"),
    ("friend", "ACT USER", "request, accept, decline or remove a friend"),
    ("leave", "", "end your membership of the room"),
    ("quit", "", "end; so do Ctrl-D and Ctrl-C"),
    ("/TEXT", "", "send a text that begins with a slash"),
];

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Nothing: the line is empty.
    Nothing,
    /// A text for the room.
    Say(String),
    /// `/help`
    Help,
    /// `/rooms`
    Rooms,
    /// `/join`
    Join(String),
    /// `/create`
    Create(String),
    /// `/direct`
    Direct(String),
    /// `/who`
    Who,
    /// `/members`
    Members,
    /// `/history`
    History(u32),
    /// Something about the message with that number.
    About(Seq, About),
    /// `/pins`
    Pins,
    /// `/search`
    Search(String),
    /// `/leaders`
    Leaders(Option<u32>),
    /// `/profile`
    Profile(String),
    /// `/status`
    Status(Status, String),
    /// `/about`
    AboutOneself(String),
    /// `/friends`
    Friends,
    /// `/friend`
    Friend(FriendAct, String),
    /// `/leave`
    Leave,
    /// `/quit`
    Quit,
}

/// What is done with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// `/reply`
    Reply(String),
    /// `/edit`
    Edit(String),
    /// `/delete`
    Delete,
    /// `/react`, and `/unreact` with `false`
    React(String, bool),
    /// `/pin`, and `/unpin` with `false`
    Pin(bool),
}

/// Reads a line.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub fn parse(line: &str) -> Result<Command, String> {
    let Some(command) = line.strip_prefix('/') else {
        return Ok(if line.trim().is_empty() { Command::Nothing } else { Command::Say(line.to_owned()) });
    };
    if command.starts_with('/') {
        return Ok(Command::Say(command.to_owned()));
    }
    let (name, rest) = cut(command);
    let found = match name {
        "help" => Some(Command::Help),
        "rooms" => Some(Command::Rooms),
        "join" => text(rest).map(Command::Join),
        "create" => text(rest).map(Command::Create),
        "direct" => text(rest).map(Command::Direct),
        "who" => Some(Command::Who),
        "members" => Some(Command::Members),
        "history" => history(rest),
        "pins" => Some(Command::Pins),
        "search" => text(rest).map(Command::Search),
        "leaders" => leaders(rest),
        "profile" => Some(Command::Profile(rest.to_owned())),
        "status" => status(rest),
        "about" => Some(Command::AboutOneself(rest.to_owned())),
        "friends" => Some(Command::Friends),
        "friend" => friend(rest),
        "leave" => Some(Command::Leave),
        "quit" => Some(Command::Quit),
        "reply" | "edit" | "delete" | "react" | "unreact" | "pin" | "unpin" => about(name, rest),
        _ => return Err(unknown(name)),
    };
    found.ok_or_else(|| usage(name))
}

/// The first word, and what follows it.
fn cut(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}

fn text(rest: &str) -> Option<String> {
    (!rest.is_empty()).then(|| rest.to_owned())
}

fn history(rest: &str) -> Option<Command> {
    let lines = if rest.is_empty() { HISTORY_LINES } else { rest.parse().ok()? };
    (1..=MAX_PAGE as u32).contains(&lines).then_some(Command::History(lines))
}

fn leaders(rest: &str) -> Option<Command> {
    if rest.is_empty() {
        return Some(Command::Leaders(None));
    }
    let days = rest.parse().ok()?;
    (1..=MAX_LEADER_DAYS).contains(&days).then_some(Command::Leaders(Some(days)))
}

fn status(rest: &str) -> Option<Command> {
    let (word, text) = cut(rest);
    Some(Command::Status(word.parse().ok()?, text.to_owned()))
}

fn friend(rest: &str) -> Option<Command> {
    let (act, whom) = cut(rest);
    let act = match act {
        "request" => FriendAct::Request,
        "accept" => FriendAct::Accept,
        "decline" => FriendAct::Decline,
        "remove" => FriendAct::Remove,
        _ => return None,
    };
    Some(Command::Friend(act, text(whom)?))
}

fn about(name: &str, rest: &str) -> Option<Command> {
    let (number, rest) = cut(rest);
    let number = number.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(number);
    let seq = number.parse().ok()?;
    let what = match name {
        "reply" => About::Reply(text(rest)?),
        "edit" => About::Edit(text(rest)?),
        "delete" => About::Delete,
        "react" | "unreact" => About::React(text(rest)?, name == "react"),
        _ => About::Pin(name == "pin"),
    };
    Some(Command::About(seq, what))
}

fn usage(name: &str) -> String {
    let known = COMMANDS.iter().find(|(known, ..)| *known == name);
    let (arguments, what) = known.map_or(("", ""), |(_, arguments, what)| (*arguments, *what));
    let bound = match name {
        "history" => format!(", 1 to {MAX_PAGE}"),
        "leaders" => format!(", 1 to {MAX_LEADER_DAYS}"),
        _ => String::new(),
    };
    format!("/{name} {arguments}: {what}{bound}")
}

fn unknown(name: &str) -> String {
    let nearest = COMMANDS.iter().map(|(known, ..)| (distance(name, known), *known)).min();
    match nearest {
        Some((wrong, known)) if wrong <= MISTYPED_MAX && wrong < known.len() => {
            format!("there is no /{name}: /{known}? /help lists the commands; //{name} says it")
        }
        _ => {
            let all: Vec<String> = COMMANDS
                .iter()
                .filter(|(n, ..)| !n.starts_with('/'))
                .map(|(n, ..)| format!("/{n}"))
                .collect();
            format!("there is no /{name}, only {}; //{name} says it", all.join(" "))
        }
    }
}

/// How many letters are to be put in, left out or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    // More letters than any command has make no difference.
    for (i, letter) in a.chars().take(LETTERS_MAX).enumerate() {
        let mut last = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let changed = last + usize::from(letter != *other);
            last = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(last + 1);
        }
    }
    row[b.len()]
}

/// The letters of an unknown command that are compared.
const LETTERS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_read_with_its_arguments() {
        let said = |text: &str| Command::Say(text.to_owned());
        for (line, command) in [
            ("hi  there", said("hi  there")),
            ("//quit", said("/quit")),
            ("  ", Command::Nothing),
            ("/join Tea room ", Command::Join("Tea room".into())),
            ("/history", Command::History(HISTORY_LINES)),
            ("/history 5", Command::History(5)),
            ("/reply 7 hi  you", Command::About(7, About::Reply("hi  you".into()))),
            ("/edit [7] x", Command::About(7, About::Edit("x".into()))),
            ("/react 7 👍", Command::About(7, About::React("👍".into(), true))),
            ("/unreact 7 👍", Command::About(7, About::React("👍".into(), false))),
            ("/pin 7", Command::About(7, About::Pin(true))),
            ("/unpin 7", Command::About(7, About::Pin(false))),
            ("/delete 7", Command::About(7, About::Delete)),
            ("/search two te", Command::Search("two te".into())),
            ("/leaders", Command::Leaders(None)),
            ("/leaders 30", Command::Leaders(Some(30))),
            ("/profile", Command::Profile(String::new())),
            ("/profile ada", Command::Profile("ada".into())),
            ("/status busy in a meeting", Command::Status(Status::Busy, "in a meeting".into())),
            ("/about", Command::AboutOneself(String::new())),
            ("/friend accept ada", Command::Friend(FriendAct::Accept, "ada".into())),
            ("/quit", Command::Quit),
        ] {
            assert_eq!(parse(line), Ok(command), "{line}");
        }
        for (name, ..) in COMMANDS.iter().filter(|(name, ..)| !name.starts_with('/')) {
            let read = parse(&format!("/{name}"));
            assert!(!read.as_ref().is_err_and(|why| why.contains("there is no")), "{name}: {read:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_command_is_said() {
        for (line, says) in [
            ("/jion Tea", "/join?"),
            ("/histroy", "/history?"),
            ("/explode", "only /help /rooms"),
            ("/reply x hi", "/reply N TEXT"),
            ("/reply 7", "/reply N TEXT"),
            ("/history 999", "1 to 200"),
            ("/leaders 31", "1 to 30"),
            ("/status gone", "available, busy, away or invisible"),
            ("/friend ada", "request, accept, decline or remove"),
            ("/friend request", "/friend ACT USER"),
            ("/join", "/join ROOM"),
            ("/", "only /help"),
        ] {
            let why = parse(line).unwrap_err();
            assert!(why.contains(says), "{line}: {why}");
        }
    }
}
