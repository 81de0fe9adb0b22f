//! The program that runs a learner's exercise: all of a lab's checker binary but its name.

use std::process::ExitCode;

use super::{Env, Lab, workload::rehearse};
use crate::redis::{Redis, RedisConfig};
use crate::servers::Topology;

const USAGE: &str = "usage: exercise-LAB check|rehearse TOPOLOGY HOST:PORT[,HOST:PORT…] SEED";

/// Checks or rehearses the exercise of `lab` against servers that someone else started, and prints the result as JSON.
/// `chatlab check LAB` builds and runs this, so that an exercise that does not compile breaks nothing else.
pub async fn exercise_main(lab: &'static dyn Lab) -> ExitCode {
    match run(lab).await {
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

async fn run(lab: &'static dyn Lab) -> Result<String, String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [verb, topology, nodes, seed] = args.as_slice() else { return Err(USAGE.to_owned()) };
    let topology: Topology = topology.parse().map_err(|e| format!("{e}\n{USAGE}"))?;
    let nodes = nodes.split(',').map(str::to_owned).collect();
    let seed = seed.parse().map_err(|e| format!("seed: {e}\n{USAGE}"))?;
    let redis = Redis::connect(&RedisConfig::new(topology, nodes)).await.map_err(|e| e.to_string())?;
    match verb.as_str() {
        "check" => {
            let env = Env { redis, seed, server: None };
            let report = lab.check("exercise", &env).await.ok_or("this build has no exercise")?;
            serde_json::to_string(&report).map_err(|e| e.to_string())
        }
        "rehearse" => {
            let costs = rehearse(lab, "exercise", &redis).await.map_err(|e| e.to_string())?;
            serde_json::to_string(&costs).map_err(|e| e.to_string())
        }
        _ => Err(USAGE.to_owned()),
    }
}
