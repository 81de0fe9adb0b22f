//! The driver `http`: requests from a scenario over connections that stay open, on time.
//!
//! It keeps time, counts and judges as the driver `lab` does: an operation is a request, what is answered with a right status
//! counts as delivered, any other answer as an error, by its status. A request that has to wait for a connection waits at its own
//! expense.

mod plan;
mod pool;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    lab::{Operation as Declared, Workload},
};
use http_body_util::Full;
use hyper::{body::Bytes, header};
use serde::{Deserialize, Serialize};

pub use plan::{HttpPlan, HttpTarget, PLACES, Ready, Request, Requests};

use self::pool::{Pool, Server};
use crate::{
    lab,
    plan::{PlanError, Progress},
    result::RunResult,
    ws::LoadError,
};

/// The classes of statuses: 1xx to 5xx, and anything else.
const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];
const PADDING: &str = "the quick brown fox jumps over the lazy dog ";

/// What was asked for, as the result tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Connections.
    pub conns: usize,
    /// How often one was opened, from the first one on; more than `conns` when some were closed.
    pub opened: u64,
}

struct Http {
    pool: Pool,
    declared: &'static [Declared],
    requests: Vec<Ready>,
    classes: Vec<[AtomicU64; 6]>,
    tokens: Vec<String>,
    body: String,
}

impl Http {
    fn new(plan: &HttpPlan) -> Result<Self, LoadError> {
        let bad = |why: String| LoadError::from(PlanError(why));
        let servers = plan.urls.iter().map(|url| Server::of(url)).collect::<Result<_, _>>().map_err(bad)?;
        let requests = plan.requests.requests.iter().map(Request::ready).collect::<Result<Vec<_>, _>>();
        let declared: Vec<_> = plan
            .requests
            .requests
            .iter()
            // A generator's process has one run.
            .map(|request| Declared { name: request.name.clone().leak(), weight: request.weight })
            .collect();
        Ok(Self {
            pool: Pool::new(servers, plan.conns),
            classes: declared.iter().map(|_| [const { AtomicU64::new(0) }; 6]).collect(),
            declared: declared.leak(),
            requests: requests.map_err(bad)?,
            tokens: plan.tokens.clone(),
            body: PADDING.chars().cycle().take(plan.body_bytes).collect(),
        })
    }

    fn build(&self, request: &Ready, server: &Server, n: u64) -> Result<hyper::Request<Full<Bytes>>, String> {
        let user = n as usize % self.tokens.len().max(1);
        let token = self.tokens.get(user).map_or("", String::as_str);
        let values: [(&str, &dyn std::fmt::Display); 4] =
            [("token", &token), ("user", &user), ("n", &n), ("body", &self.body)];
        let mut built = hyper::Request::builder()
            .method(request.method.clone())
            .uri(request.path.fill(&values))
            .header(header::HOST, &server.authority);
        for (name, value) in &request.headers {
            built = built.header(name, value.fill(&values));
        }
        built.body(Full::new(Bytes::from(request.body.fill(&values)))).map_err(|e| e.to_string())
    }
}

#[async_trait]
impl Workload for Http {
    fn operations(&self) -> &'static [Declared] {
        self.declared
    }

    async fn prepare(&self) -> LabResult<()> {
        self.pool.open_all().await.map_err(LabError::Other)
    }

    async fn run(&self, operation: &str, n: u64) -> LabResult<()> {
        let at = self.declared.iter().position(|declared| declared.name == operation);
        let at = at.ok_or_else(|| LabError::Other(format!("there is no request {operation}")))?;
        let request = &self.requests[at];
        let answer = self.pool.send(|server| self.build(request, server, n)).await;
        let status = answer.map_err(LabError::Other)?;
        let class = usize::from(status / 100);
        self.classes[at][if class < CLASSES.len() { class } else { 0 }].fetch_add(1, Relaxed);
        if !request.expects(status) {
            return Err(LabError::Other(format!("status {status}")));
        }
        Ok(())
    }
}

/// Carries out a plan and judges the run. Blocks for the run's whole time; not to be called on a runtime's own thread.
///
/// # Errors
/// [`LoadError`] when there is nothing to judge, as when no server answers.
pub fn generate(plan: HttpPlan, progress: &mut dyn FnMut(Progress)) -> Result<RunResult, LoadError> {
    plan.check()?;
    let http = Arc::new(Http::new(&plan)?);
    let (conns, servers) = (plan.conns, plan.urls.len());
    let make = {
        let http = http.clone();
        || async move { Ok::<Arc<dyn Workload>, LabError>(http) }
    };
    let adjust = |result: &mut RunResult| {
        for operation in &mut result.operations {
            let Some(at) = http.declared.iter().position(|declared| declared.name == operation.name) else {
                continue;
            };
            let counts = CLASSES.iter().zip(&http.classes[at]).map(|(class, n)| (*class, n.load(Relaxed)));
            operation.statuses = counts.filter(|(_, n)| *n > 0).map(|(c, n)| (c.to_owned(), n)).collect();
        }
        result.config.lab = None;
        result.config.conns = conns;
        result.config.servers = servers;
        result.config.http = Some(Asked { conns, opened: http.pool.opened() });
    };
    lab::drive((plan.run, conns), make, adjust, async || {}, progress)
}
