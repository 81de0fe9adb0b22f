//! A stack of `docker/compose.stack.yml`, with a name, ports and a network of its own.

use std::{
    net::TcpListener,
    process::{Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
};

use anyhow::{Context, ensure};

use crate::{
    engine::{PREFIX, docker, owner, run},
    http::Http,
    settings::Settings,
};

/// What of a network is tried: `172.30.N`, of which each stack takes one.
const NETS: u8 = 60;

/// A stack that runs. Dropping it removes it, with its volumes.
pub struct Compose {
    /// `docker-compose`, or `docker compose`.
    words: Vec<&'static str>,
    root: std::path::PathBuf,
    project: String,
    env: Vec<(&'static str, String)>,
    port: u16,
    prometheus: u16,
}

impl Compose {
    /// Nothing of it runs yet.
    pub fn new(settings: &Settings, name: &str) -> anyhow::Result<Self> {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        run(&mut Command::new(settings.root.join("docker/env")))?;
        let plugin = docker(["compose", "version"]).is_ok();
        let words = if plugin { vec!["docker", "compose"] } else { vec!["docker-compose"] };
        let (port, prometheus) = (free_port()?, free_port()?);
        let net =
            128 + (u8::try_from(std::process::id() % 30)? * 2 + NEXT.fetch_add(1, Ordering::Relaxed)) % NETS;
        let env = vec![
            ("CHATLAB_PORT", port.to_string()),
            ("PROMETHEUS_PORT", prometheus.to_string()),
            ("CHATLAB_NET", format!("172.30.{net}")),
            ("CHATLAB_IMAGE", settings.chatlab.clone()),
        ];
        let project = format!("{PREFIX}-{}-{name}", owner());
        Ok(Self { words, root: settings.root.clone(), project, env, port, prometheus })
    }

    /// Starts all services, or some, and waits until they are as others need them.
    pub fn up(&self, services: &[&str]) -> anyhow::Result<()> {
        self.run(&[&["up", "-d"], services].concat()).map(drop)
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = self.command(arguments);
        Ok(String::from_utf8_lossy(&run(&mut command)?.stdout).trim().to_owned())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.words[0]);
        command.args(&self.words[1..]).args(["-p", &self.project, "-f", "docker/compose.stack.yml"]);
        command.args(arguments).current_dir(&self.root).envs(self.env.clone()).stdin(Stdio::null());
        command
    }

    /// The container of a service, also when it has ended.
    pub fn container(&self, service: &str) -> anyhow::Result<String> {
        let by_project = format!("label=com.docker.compose.project={}", self.project);
        let by_service = format!("label=com.docker.compose.service={service}");
        let id = docker(["ps", "-aq", "--no-trunc", "--filter", &by_project, "--filter", &by_service])?;
        ensure!(!id.is_empty() && !id.contains('\n'), "no container of {service}: {id:?}");
        Ok(id)
    }

    /// chatlab, through the balancer.
    pub fn http(&self) -> Http {
        Http::new(format!("http://127.0.0.1:{}", self.port))
    }

    /// Prometheus.
    pub fn prometheus(&self) -> Http {
        Http::new(format!("http://127.0.0.1:{}", self.prometheus))
    }

    /// What the services said last.
    pub fn logs(&self) -> String {
        self.run(&["logs", "--tail", "30"]).unwrap_or_else(|error| format!("{error:#}"))
    }
}

/// A port that nobody has at the moment.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").context("a free port")?.local_addr()?.port())
}

impl Drop for Compose {
    fn drop(&mut self) {
        if let Err(why) = self.run(&["down", "--volumes", "--timeout", "5"]) {
            println!("{}: {why:#}", self.project);
        }
    }
}
