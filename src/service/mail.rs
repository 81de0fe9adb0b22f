//! E-mail addresses: a user shows that one is theirs by a code that was sent there.

use std::sync::Arc;

use chatlab_kit::{ids::UserId, wire::ErrorCode};
use rand::Rng;
use sha2::{Digest, Sha256};

use super::{
    ServiceError, ServiceResult,
    events::{Event, Events, Topic},
    now_ms,
    ports::{Archive, Confirmed, Letter, Mailbox, Post, Proposal},
};

/// The longest address, in bytes: what a path of SMTP can be.
pub const MAX_ADDRESS_BYTES: usize = 254;
/// The digits of a code.
pub const CODE_DIGITS: usize = 6;
/// How long a code is good, in milliseconds.
pub const CODE_MS: i64 = 15 * 60_000;
/// How often a code may be tried: one of a million is guessed by one in 200,000 then.
pub const CODE_TRIES: u32 = 5;
/// The shortest time between two codes for one user, in milliseconds.
pub const CODE_PAUSE_MS: i64 = 60_000;

/// The addresses of users.
pub struct Mail {
    archive: Arc<dyn Archive>,
    /// None where no mail is sent.
    post: Option<Arc<dyn Post>>,
    events: Events,
}

impl Mail {
    /// Over the archive's addresses; letters go to `post`.
    pub fn new(archive: Arc<dyn Archive>, post: Option<Arc<dyn Post>>, events: Events) -> Self {
        Self { archive, post, events }
    }

    /// The addresses of a user.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn mailbox(&self, user: &UserId) -> ServiceResult<Mailbox> {
        Ok(self.archive.mailbox(user, now_ms()).await?)
    }

    /// Sends a code to an address, in place of the one before.
    ///
    /// # Errors
    /// `invalid` for the address; `forbidden` where no mail is sent; `rate_limited` within a minute after the last one.
    pub async fn propose(&self, user: UserId, address: &str) -> ServiceResult<()> {
        check_address(address)?;
        let post = self.post.as_ref().ok_or_else(|| {
            ServiceError::forbidden("this server sends no mail: it was started without --mail-dir")
        })?;
        let code = format!("{:0CODE_DIGITS$}", rand::rng().random_range(0..10_u32.pow(CODE_DIGITS as u32)));
        let now = now_ms();
        let proposal = Proposal {
            address: address.to_owned(),
            code_hash: hashed(&user, &code),
            sent_ms: now,
            expires_ms: now + CODE_MS,
        };
        if let Some(sent) = self.archive.propose(&user, &proposal, now - CODE_PAUSE_MS).await? {
            let wait = u64::try_from(sent + CODE_PAUSE_MS - now).unwrap_or(1);
            return Err(ServiceError::rate_limited("a code was sent just now, look there first", wait));
        }
        let letter = Letter {
            to: address.to_owned(),
            subject: "Your code for chatlab".to_owned(),
            text: format!(
                "{code} is your code. It is good for {} minutes.\n\nIf you did not ask for it, somebody gave your address: do nothing.\n",
                CODE_MS / 60_000
            ),
        };
        if let Err(error) = post.hand_in(&letter).await {
            self.archive.withdraw(&user).await?;
            return Err(ServiceError::unavailable(error));
        }
        self.audit("email.code_sent", user);
        Ok(())
    }

    /// Tries a code. The right one makes its address the user's; what they have then.
    ///
    /// # Errors
    /// `invalid` for a wrong one; `not_found` when there is none that is still good; `conflict` when the address is another account's.
    pub async fn confirm(&self, user: UserId, code: &str) -> ServiceResult<Mailbox> {
        if code.len() != CODE_DIGITS || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ServiceError::invalid(format!("code: {CODE_DIGITS} digits")));
        }
        match self.archive.confirm(&user, &hashed(&user, code), now_ms(), CODE_TRIES).await? {
            Confirmed::Yes(_) => {
                self.audit("email.verified", user);
                self.mailbox(&user).await
            }
            Confirmed::Wrong(left) => {
                self.audit("email.code_refused", user);
                Err(ServiceError::invalid(format!("code: it is another one; tries left: {left}")))
            }
            Confirmed::None => Err(ServiceError::new(
                ErrorCode::NotFound,
                "there is no code that is still good: have one sent",
            )),
            // Who reads the mailbox may know that.
            Confirmed::Taken => Err(ServiceError::new(
                ErrorCode::Conflict,
                "another account has shown this address to be its own",
            )),
        }
    }

    /// Forgets the addresses of a user; false when there were none.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn forget(&self, user: UserId) -> ServiceResult<bool> {
        let forgot = self.archive.forget_mailbox(&user).await?;
        if forgot {
            self.audit("email.forgotten", user);
        }
        Ok(forgot)
    }

    fn audit(&self, action: &str, user: UserId) {
        self.events.tell(Topic::AuditLog, Event::new(action, Some(user), None));
    }
}

/// With the user's id, so that equal codes do not look alike.
fn hashed(user: &UserId, code: &str) -> String {
    let hash = Sha256::new().chain_update(user.0.as_bytes()).chain_update(code).finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One address and nothing else: what can't be mistaken for two, for a header, or for a path. Whether there is such a mailbox, the code says.
fn check_address(address: &str) -> ServiceResult<()> {
    let plain = |c: char| c.is_alphanumeric() || "!#$%&'*+/=?^_`{|}~.-".contains(c);
    let sound = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && !part.ends_with('.') && !part.contains("..")
    };
    let good = address.len() <= MAX_ADDRESS_BYTES
        && address.split_once('@').is_some_and(|(local, domain)| {
            local.len() <= 64
                && local.chars().all(plain)
                && domain.chars().all(|c| c.is_alphanumeric() || "-.".contains(c))
                && domain.contains('.')
                && sound(local)
                && sound(domain)
        });
    if good {
        Ok(())
    } else {
        Err(ServiceError::invalid("address: no e-mail address, such as ada@example.org"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one() {
        for good in ["ada@example.org", "a.b+c@sub.example.org", "ädä@exämple.org", "o'neil@example.co"] {
            assert!(check_address(good).is_ok(), "{good}");
        }
        let long = format!("{}@example.org", "a".repeat(250));
        for bad in [
            "",
            "ada",
            "@example.org",
            "ada@",
            "ada@localhost",
            "a@b@example.org",
            "ada@example.org,bob@example.org",
            "ada@example.org\r\nBcc: all@example.org",
            "<ada@example.org>",
            "a b@example.org",
            ".a@example.org",
            "a..b@example.org",
            "ada@.example.org",
            "ada@example.org.",
            "ada@exa mple.org",
            &long,
        ] {
            assert!(check_address(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn equal_codes_of_two_do_not_look_alike() {
        assert_ne!(hashed(&UserId::new(), "000000"), hashed(&UserId::new(), "000000"));
    }
}
