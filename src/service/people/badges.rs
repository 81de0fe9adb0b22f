//! What users have achieved, out of what never becomes less: so no badge has to be kept.

use chatlab_kit::wire::Badge;

use crate::service::ports::ProfileRecord;

const YEAR_MS: i64 = 365 * 24 * 3_600_000;

/// How many texts give a badge.
const TEXTS: [(u64, Badge); 4] =
    [(1, Badge::FirstText), (100, Badge::Texts100), (1_000, Badge::Texts1000), (10_000, Badge::Texts10000)];
/// On how many days.
const DAYS: [(u64, Badge); 2] = [(7, Badge::Days7), (30, Badge::Days30)];

/// The badges of a user, at a time in milliseconds since 1970.
pub(super) fn of(user: &ProfileRecord, now_ms: i64) -> Vec<Badge> {
    let earned = |count: u64, list: &'static [(u64, Badge)]| {
        list.iter().filter(move |(least, _)| count >= *least).map(|(_, badge)| *badge)
    };
    let year = (now_ms.saturating_sub(user.created_ms) >= YEAR_MS).then_some(Badge::Year);
    earned(user.texts, &TEXTS).chain(earned(user.days, &DAYS)).chain(year).collect()
}

#[cfg(test)]
mod tests {
    use chatlab_kit::ids::UserId;

    use super::*;
    use crate::service::ports::StatusRecord;

    #[test]
    fn each_badge_comes_with_the_last_that_it_takes() {
        let has = |texts, days, age_ms| {
            let standing = StatusRecord::default();
            let (id, name, about) = (UserId::new(), "ada".into(), String::new());
            of(&ProfileRecord { id, name, about, standing, created_ms: 5, texts, days }, 5 + age_ms)
        };
        assert_eq!(has(0, 0, 0), []);
        assert_eq!(has(1, 1, 0), [Badge::FirstText]);
        assert_eq!(has(99, 6, YEAR_MS - 1), [Badge::FirstText]);
        assert_eq!(has(100, 7, YEAR_MS), [Badge::FirstText, Badge::Texts100, Badge::Days7, Badge::Year]);
        let all = [
            Badge::FirstText,
            Badge::Texts100,
            Badge::Texts1000,
            Badge::Texts10000,
            Badge::Days7,
            Badge::Days30,
            Badge::Year,
        ];
        assert_eq!(has(10_000, 30, 2 * YEAR_MS), all);
    }
}
