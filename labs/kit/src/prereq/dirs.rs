//! chatlab's own folders: what can be fetched again (cache) and what is running (state).

use std::path::PathBuf;

/// The cache folder: `CHATLAB_CACHE`, else the platform's place for caches.
pub fn cache_dir() -> PathBuf {
    own_folder("CHATLAB_CACHE", "XDG_CACHE_HOME", if MACOS { "Library/Caches" } else { ".cache" })
}

/// The state folder: `CHATLAB_STATE`, else the platform's place for state.
pub fn state_dir() -> PathBuf {
    let place = if MACOS { "Library/Application Support" } else { ".local/state" };
    own_folder("CHATLAB_STATE", "XDG_STATE_HOME", place)
}

/// The folder of private server copies: `VERSION/valkey-server` below it.
pub(super) fn servers_dir() -> PathBuf {
    cache_dir().join("servers")
}

const MACOS: bool = cfg!(target_os = "macos");

fn own_folder(own: &str, shared: &str, below_home: &str) -> PathBuf {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // A home is missing in some service accounts: then the temporary folder, kept apart by user.
    let without_home =
        || std::env::temp_dir().join(format!("chatlab-user-{}", rustix::process::getuid().as_raw()));
    absolute(own).unwrap_or_else(|| {
        absolute(shared)
            .or_else(|| absolute("HOME").map(|home| home.join(below_home)))
            .unwrap_or_else(without_home)
            .join("chatlab")
    })
}
