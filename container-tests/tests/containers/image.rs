//! The image of chatlab.

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::{engine::docker, settings::Settings};

/// What it may have, in bytes: the program, and a Debian that has no more than it needs.
const SIZE_MAX: u64 = 200 << 20;
/// Nobody of the image, and no name: what checks that a container is not root's can check a number only.
const USER: &str = "10001:10001";

pub async fn is_sound(settings: &Settings) -> anyhow::Result<()> {
    let image = settings.chatlab.as_str();
    let told: Value = serde_json::from_str(&docker(["image", "inspect", image])?)?;
    let told = &told[0];
    let size = told["Size"].as_u64().context("no size")?;
    let config = &told["Config"];
    ensure!(size <= SIZE_MAX, "{size} bytes");
    ensure!(config["User"] == USER, "runs as {}", config["User"]);
    ensure!(!config["Healthcheck"].is_null(), "no health check");
    let within = |entry: &str, arguments: &[&str]| {
        let sealed = ["run", "--rm", "--read-only", "--cap-drop", "ALL", "--network", "none"];
        let limits = ["--security-opt", "no-new-privileges", "--entrypoint", entry, image];
        docker(sealed.into_iter().chain(limits).chain(arguments.iter().copied()))
    };
    let version = within("chatlab", &["--version"])?;
    ensure!(version.starts_with("chatlab "), "{version}");
    // Not even its own folder: without a volume, that is the image's, and the image is read-only.
    for place in ["/usr/local/bin/x", "/etc/x", "/x"] {
        ensure!(within("touch", &[place]).is_err(), "{place} can be written");
    }
    ensure!(within("id", &["-u"])? == "10001");
    let own = within("ls", &["/usr/local/bin"])?;
    ensure!(own.split_whitespace().eq(["chatlab", "healthy"]), "also there: {own}");
    let packages = within("dpkg-query", &["-W", "-f", "${Package} ${Installed-Size}\n"])?;
    let kib: u64 = packages.lines().filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum();
    let program = within("stat", &["-c", "%s", "/usr/local/bin/chatlab"])?.parse::<u64>()?;
    println!(
        "{image}: {} MB, user {USER}, read-only; {} MB of them {version}, the rest {} packages of Debian ({} MB)",
        size / 1_000_000,
        program / 1_000_000,
        packages.lines().count(),
        kib * 1_024 / 1_000_000,
    );
    Ok(())
}
