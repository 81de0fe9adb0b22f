//! Password hashes: Argon2id in the recommended strength (19 MiB, 2 passes), bounded in number.

use std::sync::Arc;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use chatlab_kit::wire::ErrorCode;
use tokio::sync::Semaphore;

use super::{ServiceError, ServiceResult};

/// The most requests that wait for their turn; one more is told to come back.
pub const MAX_WAITING: usize = 512;

/// Hashes and checks passwords, at most as many at once as there are cores: each takes 19 MiB and
/// tens of milliseconds of one core.
pub struct Passwords {
    turns: Arc<Semaphore>,
    line: Arc<Semaphore>,
    decoy: String,
}

impl Passwords {
    /// With `concurrent` hashes at once.
    ///
    /// # Errors
    /// When the system gives no randomness for the decoy's salt.
    pub fn new(concurrent: usize) -> ServiceResult<Self> {
        Ok(Self {
            turns: Arc::new(Semaphore::new(concurrent.max(1))),
            line: Arc::new(Semaphore::new(MAX_WAITING)),
            decoy: hash(b"nobody has this password")?,
        })
    }

    /// The PHC string of a new hash with a random salt.
    ///
    /// # Errors
    /// `rate_limited` when too many wait.
    pub async fn hash(&self, password: String) -> ServiceResult<String> {
        self.in_turn(move || hash(password.as_bytes())).await
    }

    /// Whether the password fits. Without a stored hash a decoy is checked, so that an unknown
    /// name takes as long as a wrong password.
    ///
    /// # Errors
    /// `rate_limited` when too many wait; `internal` for a stored hash that is none.
    pub async fn verify(&self, password: String, stored: Option<String>) -> ServiceResult<bool> {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.decoy.clone());
        let fits = self
            .in_turn(move || {
                let parsed = PasswordHash::new(&stored).map_err(|e| ServiceError::internal(e.to_string()))?;
                Ok(Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok())
            })
            .await?;
        Ok(known && fits)
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> ServiceResult<T> + Send + 'static,
    ) -> ServiceResult<T> {
        let _place = self.line.try_acquire().map_err(|_| {
            ServiceError::new(ErrorCode::RateLimited, "too many log in at this moment, try again")
        })?;
        // The permit moves into the blocking task: a client that hangs up does not free a core
        // that still works for it.
        let turn = self.turns.clone().acquire_owned().await.map_err(ServiceError::internal)?;
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        })
        .await
        .map_err(ServiceError::internal)?
    }
}

fn hash(password: &[u8]) -> ServiceResult<String> {
    let hash: PasswordHash =
        Argon2::default().hash_password(password).map_err(|e| ServiceError::internal(e.to_string()))?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_fits() {
        let passwords = Passwords::new(1).unwrap();
        let stored = passwords.hash("correct horse".into()).await.unwrap();
        assert!(stored.starts_with("$argon2id$"));
        assert!(passwords.verify("correct horse".into(), Some(stored.clone())).await.unwrap());
        assert!(!passwords.verify("wrong horse".into(), Some(stored)).await.unwrap());
        assert!(!passwords.verify("nobody has this password".into(), None).await.unwrap());
    }
}
