//! The progress file: `progress.json` in the state folder.
//!
//! It is written to a temporary file, flushed to the disk and renamed, so that it is whole at every moment; a lock keeps
//! two processes from losing each other's changes. A newer version is refused and left alone, an older one is migrated after a
//! copy was kept, and a file that cannot be read is set aside under another name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chatlab_kit::prereq::state_dir;
use serde_json::Value;

use super::migrate;
use super::progress::{Progress, VERSION};

const FILE: &str = "progress.json";
const LOCK: &str = "progress.lock";
/// No file of progress is larger, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// How many names are tried for a copy.
const COPIES_MAX: u32 = 10_000;

/// Why progress can be neither read nor written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A newer build wrote the file.
    #[error(
        "{path} is of version {found}, and this chatlab knows {VERSION} at most: it stays as it is. Use the newer chatlab, \
         or set CHATLAB_STATE to another folder"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// The disk or its rights.
    #[error("progress is kept in {path}, but {what}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// The file and how to tell its owner what happened to it.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    tell: fn(&str),
}

/// What was found in place of the file.
enum Found {
    /// Nothing, or a file of this version.
    Current(Progress),
    /// An older one, brought up to date.
    Older(Progress),
    /// No progress file.
    Unreadable(String),
}

impl Store {
    /// The store in the platform's state folder, or in `CHATLAB_STATE`. Remarks go to standard error.
    pub fn open() -> Self {
        Self::in_folder(state_dir(), |remark| eprintln!("chatlab: {remark}"))
    }

    /// The store in a folder of the caller's, which need not exist yet.
    pub fn in_folder(folder: impl Into<PathBuf>, tell: fn(&str)) -> Self {
        Self { folder: folder.into(), tell }
    }

    /// The folder, for what else is kept beside the progress.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// What is remembered. Changes nothing when the file is missing or of this version.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn load(&self) -> Result<Progress, StoreError> {
        match self.find()? {
            Found::Current(progress) => Ok(progress),
            // Only under the lock may the file be replaced or set aside.
            Found::Older(_) | Found::Unreadable(_) => self.update(|progress| progress.clone()),
        }
    }

    /// Changes what is remembered; no other process does so meanwhile.
    ///
    /// # Errors
    /// [`StoreError`]; the file is then what it was.
    pub fn update<T>(&self, change: impl FnOnce(&mut Progress) -> T) -> Result<T, StoreError> {
        fs::create_dir_all(&self.folder).map_err(|e| self.failed("the folder cannot be made", e))?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(self.folder.join(LOCK));
        let lock = lock.map_err(|e| self.failed("its lock cannot be opened", e))?;
        lock.lock().map_err(|e| self.failed("it cannot be locked", e))?;
        let before = self.find()?;
        let (mut progress, write_anyway) = match before {
            Found::Current(progress) => (progress, false),
            Found::Older(progress) => {
                let kept = self.keep_copy()?;
                (self.tell)(&format!(
                    "progress was brought up to version {VERSION}; as it was: {}",
                    kept.display()
                ));
                (progress, true)
            }
            Found::Unreadable(why) => {
                let aside = self.set_aside()?;
                (self.tell)(&format!(
                    "the progress file cannot be read ({why}); it was set aside as {}, and progress begins anew",
                    aside.display()
                ));
                (Progress::default(), false)
            }
        };
        let old = progress.clone();
        let answer = change(&mut progress);
        if progress != old || write_anyway {
            self.write(&progress)?;
        }
        drop(lock);
        Ok(answer)
    }

    fn find(&self) -> Result<Found, StoreError> {
        let path = self.path();
        match fs::metadata(&path) {
            Ok(meta) if meta.len() > FILE_BYTES_MAX => {
                return Ok(Found::Unreadable(format!("it has {} bytes", meta.len())));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Current(Progress::default())),
            _ => {}
        }
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Current(Progress::default())),
            Err(e) => return Err(self.failed("it cannot be read", e)),
        };
        let mut file: Value = match serde_json::from_slice(&bytes) {
            Ok(file) => file,
            Err(e) => return Ok(Found::Unreadable(e.to_string())),
        };
        let Some(found) = migrate::version(&file) else {
            return Ok(Found::Unreadable("it is no progress file".to_owned()));
        };
        if found > u64::from(VERSION) {
            return Err(StoreError::Newer { path, found });
        }
        migrate::up_to_date(&mut file);
        Ok(match serde_json::from_value(file) {
            Ok(progress) if found == u64::from(VERSION) => Found::Current(progress),
            Ok(progress) => Found::Older(progress),
            Err(e) => Found::Unreadable(e.to_string()),
        })
    }

    fn write(&self, progress: &Progress) -> Result<(), StoreError> {
        let temporary = self.folder.join(format!("{FILE}.{}", std::process::id()));
        let written = (|| {
            let mut file = File::create(&temporary)?;
            serde_json::to_writer_pretty(&mut file, progress)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&temporary, self.path())?;
            // The rename itself must survive a power cut too.
            File::open(&self.folder)?.sync_all()
        })();
        written.map_err(|e| {
            let _ = fs::remove_file(&temporary);
            self.failed("it cannot be written", e)
        })
    }

    /// A name beside the file that is free: `progress.json.KIND-N`.
    fn free_name(&self, kind: &str) -> Result<PathBuf, StoreError> {
        let names = (1..=COPIES_MAX).map(|n| self.folder.join(format!("{FILE}.{kind}-{n}")));
        let free = names.into_iter().find(|name| !name.exists());
        free.ok_or_else(|| self.failed("too many copies lie beside it", io::ErrorKind::AlreadyExists.into()))
    }

    fn keep_copy(&self) -> Result<PathBuf, StoreError> {
        let copy = self.free_name("old")?;
        fs::copy(self.path(), &copy).map_err(|e| self.failed("no copy can be made", e))?;
        Ok(copy)
    }

    fn set_aside(&self) -> Result<PathBuf, StoreError> {
        let aside = self.free_name("unreadable")?;
        fs::rename(self.path(), &aside).map_err(|e| self.failed("it cannot be set aside", e))?;
        Ok(aside)
    }

    fn failed(&self, what: &'static str, source: io::Error) -> StoreError {
        StoreError::Io { path: self.path(), what, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::in_folder(folder.path().join("state"), |_| ());
        (folder, store)
    }

    fn put(store: &Store, text: &str) {
        fs::create_dir_all(&store.folder).unwrap();
        fs::write(store.path(), text).unwrap();
    }

    fn names(store: &Store) -> Vec<String> {
        let files = fs::read_dir(&store.folder).unwrap().flatten();
        let mut names: Vec<_> = files.map(|f| f.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_written_is_read_again_and_nothing_else_stays() {
        let (_folder, store) = store();
        assert_eq!(store.load().unwrap(), Progress::default());
        assert!(!store.folder.exists(), "reading makes no folder");
        store.update(|p| p.lab_mut("sessions").passed_step("one", 2, 2)).unwrap();
        assert_eq!(store.load().unwrap().lab("sessions").steps["one"].commands, 2);
        assert_eq!(names(&store), [FILE, LOCK]);
    }

    #[test]
    fn an_older_file_is_migrated_and_kept() {
        let (_folder, store) = store();
        let old = r#"{"labs":{"sessions":{"steps":["a","b"],"passed":true}}}"#;
        put(&store, old);
        let progress = store.load().unwrap();
        let lab = progress.lab("sessions");
        assert_eq!((progress.version, lab.steps.len(), lab.code.passed_ms), (VERSION, 2, Some(0)));
        assert_eq!(fs::read_to_string(store.folder.join("progress.json.old-1")).unwrap(), old);
        assert_eq!(store.load().unwrap(), progress, "it is migrated once");
        assert_eq!(names(&store).len(), 3);
    }

    #[test]
    fn a_newer_file_is_refused_and_left_alone() {
        let (_folder, store) = store();
        let newer = r#"{"version":99,"labs":{"sessions":{"steps":"of another kind"}}}"#;
        put(&store, newer);
        let error = store.update(|p| p.lab_mut("sessions").read()).unwrap_err();
        assert!(error.to_string().contains("version 99"), "{error}");
        assert!(matches!(store.load(), Err(StoreError::Newer { found: 99, .. })));
        assert_eq!(fs::read_to_string(store.path()).unwrap(), newer);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_set_aside() {
        let (_folder, store) = store();
        for (n, broken) in
            ["{\"version\":1,\"la", "[]", "{\"version\":1,\"labs\":[]}"].into_iter().enumerate()
        {
            put(&store, broken);
            assert_eq!(store.load().unwrap(), Progress::default());
            let aside = store.folder.join(format!("progress.json.unreadable-{}", n + 1));
            assert_eq!(fs::read_to_string(aside).unwrap(), broken);
        }
    }

    #[test]
    fn changes_from_many_threads_are_all_kept() {
        let (_folder, store) = store();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let store = store.clone();
                scope.spawn(move || {
                    for i in 0..10 {
                        let id = format!("{thread}-{i}");
                        store.update(|p| p.lab_mut("sessions").passed_step(&id, 1, 1)).unwrap();
                    }
                });
            }
        });
        assert_eq!(store.load().unwrap().lab("sessions").steps.len(), 40);
        assert_eq!(names(&store), [FILE, LOCK]);
    }

    #[test]
    fn a_failed_write_leaves_what_was_there() {
        let (_folder, store) = store();
        store.update(|p| p.lab_mut("a").read()).unwrap();
        let before = fs::read(store.path()).unwrap();
        // A folder where the temporary file would go: writing fails, whoever the user is.
        fs::create_dir(store.folder.join(format!("{FILE}.{}", std::process::id()))).unwrap();
        assert!(matches!(store.update(|p| p.lab_mut("b").read()), Err(StoreError::Io { .. })));
        assert_eq!(fs::read(store.path()).unwrap(), before);
    }
}
