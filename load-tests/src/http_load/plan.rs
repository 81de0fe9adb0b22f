//! Which requests are sent, and what a generator process is told about them.

use std::collections::BTreeMap;

use hyper::{
    Method,
    header::{HeaderName, HeaderValue},
};
use serde::{Deserialize, Serialize};

use crate::{
    lab::{LabPlan, Place},
    plan::PlanError,
    scenario::Scenario,
    template::Template,
};

/// The most connections of one generator.
const CONNS_MAX: usize = 20_000;
/// The most kinds of request.
const REQUESTS_MAX: usize = 64;
/// The longest generated body, in bytes.
const BODY_MAX: usize = 1 << 20;
/// What a template may name: a user's access token and number, the call's number, a generated text of `body_bytes`.
pub const PLACES: &[&str] = &["token", "user", "n", "body"];

fn get() -> String {
    "GET".to_owned()
}

/// One kind of request. Path, values of headers, and body are templates; see [`PLACES`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// For people.
    pub name: String,
    /// How often it comes, relative to the others.
    pub weight: u32,
    /// The method.
    #[serde(default = "get")]
    pub method: String,
    /// From the first `/` on.
    pub path: String,
    /// By name.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// None without a text.
    #[serde(default)]
    pub body: String,
    /// The statuses that are right; 200 to 299 when empty.
    #[serde(default)]
    pub expect: Vec<u16>,
}

impl Request {
    /// Its templates, taken apart.
    ///
    /// # Errors
    /// One sentence that names the field.
    pub fn ready(&self) -> Result<Ready, String> {
        let fail = |what: &str, why: String| format!("http.requests.{}, {what}: {why}", self.name);
        let template = |what: &str, text: &str| Template::parse(text, PLACES).map_err(|why| fail(what, why));
        if !self.path.starts_with('/') {
            return Err(fail("path", "it must begin with /".into()));
        }
        let headers = self.headers.iter().map(|(name, value)| {
            let known: HeaderName = name.parse().map_err(|e| fail(name, format!("{e}")))?;
            HeaderValue::from_str(value).map_err(|e| fail(name, e.to_string()))?;
            Ok((known, template(name, value)?))
        });
        Ok(Ready {
            method: self.method.parse().map_err(|e| fail("method", format!("{e}")))?,
            path: template("path", &self.path)?,
            headers: headers.collect::<Result<_, String>>()?,
            body: template("body", &self.body)?,
            expect: self.expect.clone(),
        })
    }
}

/// A request whose templates are taken apart.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The method.
    pub method: Method,
    /// From the first `/` on.
    pub path: Template,
    /// By name.
    pub headers: Vec<(HeaderName, Template)>,
    /// The body.
    pub body: Template,
    expect: Vec<u16>,
}

impl Ready {
    /// Whether a status is right.
    pub fn expects(&self, status: u16) -> bool {
        if self.expect.is_empty() { (200..300).contains(&status) } else { self.expect.contains(&status) }
    }

    /// Whether it needs an access token.
    pub fn needs_token(&self) -> bool {
        let headers = self.headers.iter().map(|(_, value)| value);
        [&self.path, &self.body].into_iter().chain(headers).any(|template| template.has("token"))
    }
}

/// The part of a scenario that only the driver `http` has; see `scenarios/http-sessions.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    /// Users of the chat server whose tokens are used in turn.
    #[serde(default)]
    pub users: usize,
    /// What is sent.
    pub requests: Vec<Request>,
}

impl Requests {
    /// Checks bounds.
    ///
    /// # Errors
    /// One sentence that names the field.
    pub fn check(&self, conns: usize, body_bytes: usize) -> Result<(), String> {
        if !(1..=CONNS_MAX).contains(&conns) {
            return Err(format!("conns must be 1 to {CONNS_MAX}"));
        }
        if body_bytes > BODY_MAX {
            return Err(format!("body_bytes must be at most {BODY_MAX}"));
        }
        if self.requests.len() > REQUESTS_MAX || self.requests.iter().all(|one| one.weight == 0) {
            return Err(format!("[[http.requests]]: 1 to {REQUESTS_MAX}, at least one with a weight"));
        }
        for (nth, request) in self.requests.iter().enumerate() {
            let ready = request.ready()?;
            if ready.needs_token() && self.users == 0 {
                return Err(format!("http.requests.{}: ${{token}} needs http.users", request.name));
            }
            if self.requests[..nth].iter().any(|earlier| earlier.name == request.name) {
                return Err(format!("http.requests: there are two of the name {}", request.name));
            }
        }
        Ok(())
    }
}

/// What requests are sent to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HttpTarget {
    /// `http://HOST:PORT`, one or several that connections go round.
    pub urls: Vec<String>,
    /// Access tokens.
    pub tokens: Vec<String>,
    /// Processes of the servers, to observe.
    pub server_pids: Vec<u32>,
    /// Processes of Redis, to observe.
    pub redis_pids: Vec<u32>,
    /// What else is to be known from the result.
    pub labels: BTreeMap<String, String>,
}

/// One run of the driver `http`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpPlan {
    /// When requests are due, how long, how judged.
    pub run: LabPlan,
    /// `http://HOST:PORT`.
    pub urls: Vec<String>,
    /// Access tokens.
    pub tokens: Vec<String>,
    /// Connections.
    pub conns: usize,
    /// The length of `${body}`.
    pub body_bytes: usize,
    /// What is sent.
    pub requests: Requests,
}

impl HttpPlan {
    /// The plan of a scenario of the driver `http` against servers.
    ///
    /// # Errors
    /// [`PlanError`] when the two do not fit.
    pub fn new(scenario: &Scenario, target: HttpTarget) -> Result<Self, PlanError> {
        let requests = scenario.http.clone();
        let requests = requests.ok_or_else(|| PlanError("the scenario has no [http] part".into()))?;
        let place = Place { redis_pids: target.redis_pids, ..Place::default() };
        let run = LabPlan::of("http", scenario, "http", place, target.labels)?;
        let plan = Self {
            run: LabPlan { server_pids: target.server_pids, ..run },
            urls: target.urls,
            tokens: target.tokens,
            conns: scenario.conns,
            body_bytes: scenario.body_bytes,
            requests,
        };
        plan.check()?;
        Ok(plan)
    }

    /// Checks what [`HttpPlan`]'s types can't say.
    ///
    /// # Errors
    /// [`PlanError`] names the field.
    pub fn check(&self) -> Result<(), PlanError> {
        self.requests.check(self.conns, self.body_bytes).map_err(PlanError)?;
        if self.urls.is_empty() {
            return Err(PlanError("urls is empty".into()));
        }
        self.run.check()
    }

    /// The longest that a run can take, in milliseconds.
    pub fn longest_ms(&self) -> u64 {
        self.run.longest_ms()
    }
}
