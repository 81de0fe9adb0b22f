//! The archive's own tests on a PostgreSQL version in a container.

use std::time::Instant;

use anyhow::ensure;
use tokio::process::Command;

use crate::{
    built,
    matrix::{self, Row},
    nodes::{self, Network},
    settings::Settings,
};

pub async fn archive(settings: &Settings, image: &str) -> anyhow::Result<()> {
    let units = &built::programs(settings)?.units;
    let network = Network::fresh();
    let postgres = nodes::postgres(image, &network).await?;
    let began = Instant::now();
    let output = Command::new(units)
        .arg("archive::postgres")
        .current_dir(&settings.root)
        .env("CHATLAB_TEST_POSTGRES", postgres.url())
        .kill_on_drop(true)
        .output()
        .await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
    let mut row = Row::new(&format!("postgres {tag}"), "-", "archive", began.elapsed());
    for line in text.lines().filter(|line| line.starts_with("test ")) {
        match line.rsplit(' ').next() {
            Some("ok") => row.passed += 1,
            Some("ignored") => row.skipped += 1,
            Some("FAILED") => row.failed += 1,
            _ => {}
        }
    }
    let passed = row.passed;
    matrix::add(row);
    ensure!(output.status.success() && passed > 0, "{image}: {text}");
    Ok(())
}
