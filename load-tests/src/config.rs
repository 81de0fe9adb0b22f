//! What a run was asked for, as its result tells it.

use serde::{Deserialize, Serialize};

use crate::{
    http_load,
    plan::{Plan, Receive, Slow, Storm},
    resp::Commands,
    sql, verdict,
};

/// The variant of a lab that was driven without the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Driven {
    /// The lab.
    pub lab: String,
    /// Its variant.
    pub variant: String,
}

/// What was asked for; tokens and room ids are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Driver `lab`: what was driven. The fields about connections are 0 then, and messages are operations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lab: Option<Driven>,
    /// Driver `redis`: what was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<Commands>,
    /// Driver `sql`: what was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<sql::Asked>,
    /// Driver `http`: what was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<http_load::Asked>,
    /// Connections that came and went beside the others.
    #[serde(default)]
    pub churn_conns: usize,
    /// How often one of them did, a second.
    #[serde(default)]
    pub churn_per_s: f64,
    /// Connections that came and went broke all together, and resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storm: Option<Storm>,
    /// Connections that stopped reading, beside the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow: Option<Slow>,
    /// Messages came from a connection a room that only sends; how the others received them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive: Option<Receive>,
    /// Connections.
    pub conns: usize,
    /// Rooms.
    pub rooms: usize,
    /// Rooms that each connection joined.
    pub rooms_per_conn: usize,
    /// Messages a second.
    pub rate_per_s: f64,
    /// The measured window, in seconds.
    pub secs: f64,
    /// The length of a body, in bytes.
    pub body_bytes: usize,
    /// What decided when requests went out: a kind of schedule, or a closed loop.
    pub schedule: String,
    /// A closed loop's requests at once; none in an open loop. In a closed loop, response is nothing but service: there is
    /// no intended instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_concurrency: Option<u32>,
    /// The schedule's seed.
    pub seed: u64,
    /// SHA-256 of all arrivals of the window.
    pub schedule_sha256: String,
    /// Chat server processes.
    pub servers: usize,
    /// The in-flight cap.
    pub in_flight_cap: u64,
    /// Generator threads.
    pub threads: usize,
    /// The verdict's limits.
    pub limits: verdict::Limits,
}

impl Config {
    /// Whether it was operations that were measured, one by one, and not messages and their deliveries.
    pub fn is_operations(&self) -> bool {
        self.lab.is_some() || self.redis.is_some() || self.sql.is_some() || self.http.is_some()
    }

    /// What a plan asks for.
    pub(crate) fn of(plan: &Plan) -> Self {
        Self {
            lab: None,
            redis: None,
            sql: None,
            http: None,
            churn_conns: plan.churn.tokens.len(),
            churn_per_s: plan.churn.per_s,
            storm: plan.churn.storm,
            slow: plan.slow.as_ref().map(|slow| slow.how),
            receive: plan.receive,
            conns: plan.receivers(),
            rooms: plan.rooms.len(),
            rooms_per_conn: plan.rooms_per_conn,
            rate_per_s: plan.schedule.rate_per_s,
            secs: plan.schedule.duration_ns as f64 / 1e9,
            body_bytes: plan.body_bytes,
            schedule: plan.schedule.kind.to_string(),
            closed_concurrency: None,
            seed: plan.schedule.seed,
            schedule_sha256: plan.schedule.hash(),
            servers: plan.ws_urls.len(),
            in_flight_cap: plan.in_flight_cap,
            threads: plan.threads,
            limits: plan.limits,
        }
    }
}
