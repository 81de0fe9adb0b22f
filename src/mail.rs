//! Letters as files: an outbox that whatever sends mail here empties.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use uuid::Uuid;

use crate::service::ports::{Letter, Post, PostError};

/// The most letters that wait. One more is not taken: nobody empties the folder.
pub const MAX_LETTERS: usize = 10_000;

/// A folder, one file a letter: `ID.eml`, whole as soon as it has that name, in the order of their names.
pub struct MailFolder(PathBuf);

impl MailFolder {
    /// In that folder, which is made if need be.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn open(folder: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self(folder.to_owned()))
    }

    fn put(folder: &Path, text: &str) -> std::io::Result<bool> {
        if std::fs::read_dir(folder)?.count() >= MAX_LETTERS {
            return Ok(false);
        }
        let name = Uuid::now_v7().to_string();
        let half = folder.join(format!(".{name}"));
        std::fs::write(&half, text)?;
        std::fs::rename(half, folder.join(format!("{name}.eml")))?;
        Ok(true)
    }
}

#[async_trait]
impl Post for MailFolder {
    async fn hand_in(&self, letter: &Letter) -> Result<(), PostError> {
        let Letter { to, subject, text } = letter;
        let text = format!(
            "To: {to}\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{}",
            text.replace('\n', "\r\n")
        );
        let folder = self.0.clone();
        let told = self.0.display();
        let put = tokio::task::spawn_blocking(move || Self::put(&folder, &text)).await;
        match put {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(PostError(format!("{told} has {MAX_LETTERS} letters that nobody sends"))),
            Ok(Err(error)) => Err(PostError(format!("{told}: {error}"))),
            Err(error) => Err(PostError(error.to_string())),
        }
    }
}
