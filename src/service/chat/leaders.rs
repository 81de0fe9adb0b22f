//! Who writes most.

use chatlab_kit::{
    ids::RoomId,
    wire::{Leader, MAX_LEADER_DAYS, MAX_LEADERS},
};

use super::{By, Chat};
use crate::service::{ServiceError, ServiceResult, now_ms, ports::Sent};

const DEFAULT_DAYS: u32 = 7;
const DEFAULT_LEADERS: u32 = 10;
const DAY_MS: i64 = 24 * 3_600_000;

impl Chat {
    /// Who has sent the most texts to a room on so many days, today being the last.
    ///
    /// # Errors
    /// `forbidden` for who is no member; `not_found`; `invalid` for the days or the limit.
    pub async fn leaders(
        &self,
        by: By<'_>,
        room: RoomId,
        (days, limit): (Option<u32>, Option<u32>),
    ) -> ServiceResult<Vec<Leader>> {
        let within = |name: &str, asked: u32, most: u32| {
            let fits = (1..=most).contains(&asked).then_some(asked);
            fits.ok_or_else(|| ServiceError::invalid(format!("{name}: 1 to {most}")))
        };
        let days = within("days", days.unwrap_or(DEFAULT_DAYS), MAX_LEADER_DAYS)?;
        let limit = within("limit", limit.unwrap_or(DEFAULT_LEADERS), MAX_LEADERS as u32)?;
        self.must_be_member(by, room).await?;
        let since = now_ms() / DAY_MS - i64::from(days - 1);
        Ok(placed(self.archive.leaders(&room, since, limit).await?))
    }
}

/// In their order, with their places: who has as many as the one before has the same.
fn placed(sent: Vec<Sent>) -> Vec<Leader> {
    let mut leaders: Vec<Leader> = Vec::with_capacity(sent.len());
    for (next, (user, name, texts)) in (1..).zip(sent) {
        let place = leaders.last().filter(|last| last.texts == texts).map_or(next, |last| last.place);
        leaders.push(Leader { place, user, name, texts });
    }
    leaders
}

#[cfg(test)]
mod tests {
    use chatlab_kit::ids::UserId;

    use super::*;

    #[test]
    fn who_is_level_shares_a_place_and_the_next_ones_is_not_moved_up() {
        let of = |counts: &[u64]| {
            let sent = counts.iter().map(|texts| (UserId::new(), String::new(), *texts)).collect();
            placed(sent).iter().map(|leader| leader.place).collect::<Vec<_>>()
        };
        assert_eq!(of(&[]), [] as [u32; 0]);
        assert_eq!(of(&[9, 7, 7, 7, 3, 3, 1]), [1, 2, 2, 2, 5, 5, 7]);
    }
}
