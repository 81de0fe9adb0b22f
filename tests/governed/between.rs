//! What two do to each other: direct chats, blocks.

use chatlab_kit::wire::ErrorCode;

use super::{acts::Acts, model::pair};

impl Acts {
    pub(super) async fn block(&mut self, by: usize, whom: usize) {
        let (user, on) = (self.model.users[whom], !self.model.blocks.contains(&(by, whom)));
        let expected = if by == whom { Err(ErrorCode::Invalid) } else { Ok(()) };
        let answer = self.people[by].client.block(user, on).await;
        let Some(blocks) = self.judge("block", expected, answer) else { return };
        if !on {
            self.model.blocks.remove(&(by, whom));
            assert!(!blocks.contains(&user));
            return;
        }
        assert!(blocks.contains(&user));
        self.model.blocks.insert((by, whom));
        if let Some(room) = self.model.direct.get(&pair(by, whom)).copied() {
            for who in [by, whom] {
                self.is_out(who, room).await;
            }
        }
    }

    /// Opens the direct chat of two, both listen, and the one writes to the other.
    pub(super) async fn write_to(&mut self, by: usize, whom: usize) {
        let users = [self.model.users[by], self.model.users[whom]];
        let expected = self.model.direct(by, whom);
        let answer = self.people[by].client.direct(users[1], None).await;
        let Some(room) = self.judge("direct", expected, answer) else {
            // A chat of before is shut.
            if let Some(room) = self.model.direct.get(&pair(by, whom)).copied() {
                let answer = self.people[by].client.send(room, "never", "x").await;
                self.judge("write past a block", Err(ErrorCode::Forbidden), answer);
            }
            return;
        };
        let known = *self.model.direct.entry(pair(by, whom)).or_insert(room);
        assert_eq!(known, room, "two have one chat");
        for (who, with) in [(by, users[1]), (whom, users[0])] {
            let person = &mut self.people[who];
            assert_eq!(person.client.direct(with, None).await.unwrap(), room);
            let at = person.client.position(room).unwrap().seq;
            person.listens(room, at);
        }
        let cid = self.cid();
        let answer = self.people[by].client.send(room, &cid, "between us").await;
        if let Some(ack) = self.judge("write to one", Ok(()), answer) {
            for who in [by, whom] {
                self.people[who].until("between us", |person| person.at[&room] == ack.seq).await;
            }
        }
    }

    pub(super) async fn end(&mut self, by: usize, whom: usize) {
        let Some(room) = self.model.direct.get(&pair(by, whom)).copied() else { return };
        let answer = self.people[by].client.end(room).await;
        if self.judge("end", Ok(()), answer).is_some() {
            for who in [by, whom] {
                self.is_out(who, room).await;
            }
            self.model.direct.remove(&pair(by, whom));
        }
    }
}
