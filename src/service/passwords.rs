//! Password hashes: Argon2id in the recommended strength (19 MiB, 2 passes), bounded in number.
//!
//! They run on threads of their own, never on the runtime's pool: the allocator keeps an arena a thread, and
//! with 19 MiB in each, a pool that grows and shrinks would hold on to more and more memory.

use std::sync::{
    Arc, Mutex,
    mpsc::{Receiver, SyncSender, sync_channel},
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use chatlab_kit::wire::ErrorCode;
use tokio::sync::oneshot;

use super::{ServiceError, ServiceResult, lock};

/// The most requests that wait for their turn; one more is told to come back.
pub const MAX_WAITING: usize = 512;

type Job = Box<dyn FnOnce() + Send>;

/// Hashes and checks passwords, at most as many at once as there are cores: each takes 19 MiB and
/// tens of milliseconds of one core.
pub struct Passwords {
    jobs: SyncSender<Job>,
    decoy: String,
}

impl Passwords {
    /// With `concurrent` hashes at once, a thread each; they end with the value.
    ///
    /// # Errors
    /// When the system gives no thread, or no randomness for the decoy's salt.
    pub fn new(concurrent: usize) -> ServiceResult<Self> {
        let (jobs, queue) = sync_channel(MAX_WAITING);
        let queue = Arc::new(Mutex::new(queue));
        for i in 0..concurrent.max(1) {
            let queue = queue.clone();
            std::thread::Builder::new()
                .name(format!("argon2-{i}"))
                .spawn(move || work_off(&queue))
                .map_err(ServiceError::internal)?;
        }
        Ok(Self { jobs, decoy: hash(b"nobody has this password")? })
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
        let (tell, told) = oneshot::channel();
        let job = Box::new(move || {
            // A client that hung up meanwhile needs no answer.
            if !tell.is_closed() {
                let _ = tell.send(work());
            }
        });
        self.jobs.try_send(job).map_err(|_| {
            ServiceError::new(ErrorCode::RateLimited, "too many log in at this moment, try again")
        })?;
        told.await.map_err(ServiceError::internal)?
    }
}

fn work_off(queue: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held while one thread waits, and given up before it works.
        let next = lock(queue).recv();
        match next {
            // Whoever waits for a job that panicked gets `internal`; the thread goes on.
            Ok(job) => drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(job))),
            Err(_) => return,
        }
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
