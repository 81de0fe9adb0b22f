//! Which images, from the environment, else from `docker/.env`, which `docker/build` fills in, else the public ones.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// What is tested, and with what.
pub struct Settings {
    /// The clone.
    pub root: PathBuf,
    /// Redis servers to hold the labs and the server against (`REDIS_IMAGES`).
    pub redis: Vec<String>,
    /// Those for the archive (`POSTGRES_IMAGES`).
    pub postgres: Vec<String>,
    /// chatlab itself (`CHATLAB_IMAGE`).
    pub chatlab: String,
    /// Whether to skip is to fail (`CHATLAB_CONTAINERS=required`).
    pub required: bool,
    /// Whether nothing is to be run (`CHATLAB_CONTAINERS=off`).
    pub off: bool,
    /// Whether the images are `docker/build`'s.
    pub built_here: bool,
}

impl Settings {
    pub fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
        let text = std::fs::read_to_string(root.join("docker/.env")).unwrap_or_default();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let file: HashMap<_, _> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let of = |name: &str, usual: &str| {
            let set = std::env::var(name).ok().filter(|value| !value.is_empty());
            set.or_else(|| file.get(name).cloned()).unwrap_or_else(|| usual.to_owned())
        };
        let list = |text: String| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        let asked = std::env::var("CHATLAB_CONTAINERS").unwrap_or_default();
        Self {
            redis: list(of("REDIS_IMAGES", "redis:7.0,redis:8.0,valkey/valkey:8.1")),
            postgres: list(of("POSTGRES_IMAGES", "postgres:17")),
            chatlab: of("CHATLAB_IMAGE", "chatlab/chatlab:dev"),
            required: asked == "required",
            off: asked == "off",
            built_here: file.contains_key("CHATLAB_IMAGE"),
            root,
        }
    }

    /// All images that must be there.
    pub fn images(&self) -> impl Iterator<Item = &String> {
        self.redis.iter().chain(&self.postgres).chain([&self.chatlab])
    }
}
