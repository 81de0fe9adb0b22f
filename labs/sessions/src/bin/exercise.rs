//! Checks the exercise against servers that someone else started, and prints the report as JSON.
//!
//! `chatlab check sessions` builds and runs this, so that an exercise that does not compile breaks nothing else.

use std::process::ExitCode;

use chatlab_kit::{
    lab::{Env, Lab as _},
    redis::{Redis, RedisConfig},
    servers::Topology,
};

const USAGE: &str = "usage: exercise-sessions TOPOLOGY HOST:PORT[,HOST:PORT…] SEED";

async fn report() -> Result<String, String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [topology, nodes, seed] = args.as_slice() else { return Err(USAGE.to_owned()) };
    let topology: Topology = topology.parse().map_err(|e| format!("{e}\n{USAGE}"))?;
    let nodes = nodes.split(',').map(str::to_owned).collect();
    let seed = seed.parse().map_err(|e| format!("seed: {e}\n{USAGE}"))?;
    let redis = Redis::connect(&RedisConfig::new(topology, nodes)).await.map_err(|e| e.to_string())?;
    let report = chatlab_sessions::LAB
        .check("exercise", &Env { redis, seed })
        .await
        .ok_or("this build has no exercise")?;
    serde_json::to_string(&report).map_err(|e| e.to_string())
}

#[tokio::main]
async fn main() -> ExitCode {
    match report().await {
        Ok(json) => {
            println!("{json}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}
