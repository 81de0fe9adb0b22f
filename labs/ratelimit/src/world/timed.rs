//! Steps in which time passes: asking all the time, waiting, coming back as told.

use std::time::Duration;

use chatlab_kit::{LabResult, check::Stop};

use super::{BURST_PART, KEPT_WINDOWS, Topic, World};
use crate::history::Step;

/// How long to sleep between two looks at the server's clock.
const POLL: Duration = Duration::from_millis(2);
/// Who asks all the time must not pause for longer than this part of a window, or too much is forgotten meanwhile.
const HAMMER_PART: u64 = 3;
/// A longer pause between two asks does not count as asking all the time.
const COVERED_PART: u64 = 8;
/// The most takes in one step that waits for the end of something.
const ASKS_MAX: u32 = 20_000;

impl World<'_> {
    /// Asks all the time; three windows of that give at least half of the permits each. Where the machine paused, the time
    /// does not count: nothing is lost by it but what would have been given meanwhile.
    pub(super) async fn hammer(&mut self, step: &Step, percent: u64) -> Result<(), Stop> {
        let window_ms = self.limit.window_ms;
        let from_ms = self.now().await?;
        let (mut asks, mut allowed, mut last_ms, mut covered_ms, mut gap_ms) = (0_u32, 0_u32, from_ms, 0, 0);
        while covered_ms < window_ms * percent / 100 && asks < ASKS_MAX {
            // As many as there are permits each time: enough to fill up whatever remembers refused takes, on a slow machine too.
            let (round_ms, to_ms, more) = self.round(self.limit.permits).await?;
            gap_ms = gap_ms.max(to_ms.saturating_sub(last_ms));
            covered_ms += round_ms.saturating_sub(last_ms).min(window_ms / COVERED_PART);
            last_ms = round_ms;
            asks += self.limit.permits;
            allowed += more;
            // The pace of who asks all the time, for as long as `covered_ms` says.
            tokio::time::sleep(POLL).await;
        }
        self.record.line_at(from_ms, &format!("{step}  → {allowed} of {asks} allowed"));
        self.blur("asking once", gap_ms, HAMMER_PART);
        let windows = u32::try_from(percent / 100).unwrap_or(0);
        if std::mem::take(&mut self.rested) && windows >= 3 {
            // In a longer pause whatever remembers refused takes forgets them: it would look sound.
            if gap_ms > window_ms / 2 {
                let why = format!("the machine was too slow to ask all the time: {gap_ms} ms once");
                self.record.doubt(Topic::Given, why);
            }
            let promised = windows * self.limit.permits / 2;
            let held = if allowed >= promised {
                Ok(())
            } else {
                let what = format!("who asked all the time for {windows} windows got {allowed} takes");
                Err(format!("{what}, at least {promised} are promised"))
            };
            self.fact(Topic::Given, held);
        }
        Ok(())
    }

    async fn wait_until(&mut self, until_ms: u64) -> LabResult<u64> {
        loop {
            let now = self.now().await?;
            if now >= until_ms {
                return Ok(now);
            }
            // A poll, bounded by the server's clock.
            tokio::time::sleep(POLL).await;
        }
    }

    pub(super) async fn pause(&mut self, step: &Step, percent: u64) -> LabResult<()> {
        let from_ms = self.now().await?;
        self.record.line_at(from_ms, &step.to_string());
        let until_ms = from_ms + self.limit.window_ms * percent / 100;
        let woke_ms = self.wait_until(until_ms).await?;
        self.blur("waking up", woke_ms - until_ms, BURST_PART);
        Ok(())
    }

    /// The reading of the clock after the subject's last take.
    fn last_take_ms(&self) -> Option<u64> {
        self.seen.iter().rev().find(|seen| seen.subject == self.at).map(|seen| seen.to_ms)
    }

    pub(super) async fn rest(&mut self, step: &Step) -> LabResult<()> {
        let from_ms = self.now().await?;
        self.record.line_at(from_ms, &step.to_string());
        let last_ms = self.last_take_ms().unwrap_or(0);
        self.wait_until(last_ms + 2 * self.limit.window_ms + 1).await?;
        self.rested = true;
        Ok(())
    }

    pub(super) async fn steady(&mut self, step: &Step, takes: u32) -> Result<(), Stop> {
        let from_ms = self.now().await?;
        let gap_ms = (2 * self.limit.window_ms).div_ceil(u64::from(self.limit.permits));
        // Without a rest before, the pace is not all that the subject has asked for.
        let rested = std::mem::take(&mut self.rested);
        let mut refused = 0;
        for i in 0..takes {
            if let Some(last_ms) = self.last_take_ms() {
                self.wait_until(last_ms + gap_ms + 1).await?;
            }
            refused += u32::from(!self.take(i as usize).await?.decision.allowed);
        }
        self.record.line_at(from_ms, &format!("{step}  → {refused} refused"));
        if rested {
            let held = match refused {
                0 => Ok(()),
                _ => Err(format!("{refused} of {takes} takes were refused at half the limit's pace")),
            };
            self.fact(Topic::Given, held);
        }
        Ok(())
    }

    /// Whether a refusal says truly when to come back: not before, and not after, however often one asks meanwhile.
    pub(super) async fn refusal(&mut self, step: &Step) -> Result<(), Stop> {
        let mut refused = self.take(0).await?;
        for i in 0..=self.limit.permits {
            if !refused.decision.allowed {
                break;
            }
            refused = self.take(i as usize).await?;
        }
        self.rested = false;
        let wait_ms = refused.decision.retry_after_ms;
        self.record.line_at(refused.from_ms, &format!("{step}: in {wait_ms} ms"));
        if refused.decision.allowed {
            return Ok(());
        }
        if wait_ms == 0 || wait_ms > KEPT_WINDOWS * self.limit.window_ms {
            self.fact(Topic::Retry, Err(format!("a refused take says: retry after {wait_ms} ms")));
            return Ok(());
        }
        // What the clock's readings leave open, and the rounding, is a millisecond each.
        let (early_ms, late_ms) = (refused.from_ms + wait_ms - 1, refused.to_ms + wait_ms + 2);
        for rounds in 1..ASKS_MAX {
            let (from_ms, to_ms, allowed) = self.round(self.limit.permits).await?;
            if allowed > 0 {
                let held = if to_ms + 1 < early_ms {
                    Err(format!("allowed {} ms before the promised time", early_ms - to_ms))
                } else {
                    Ok(())
                };
                self.fact(Topic::Retry, held);
                return Ok(());
            }
            if from_ms >= late_ms {
                let late = from_ms - refused.to_ms;
                let asks = rounds * self.limit.permits;
                let what = format!("promised after {wait_ms} ms, still refused after {late} ms");
                self.fact(Topic::Retry, Err(format!("{what} and {asks} asks in between")));
                return Ok(());
            }
            // The pace of who asks meanwhile, at most until `late_ms`.
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}
