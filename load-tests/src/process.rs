//! The generator as a process of its own, so that its CPU time and its stalls are its own.
//!
//! The plan (a [`Job`]) goes in as one line of JSON on standard input, which then stays open: when it closes,
//! whoever asked for the run is gone, and the generator ends. Progress comes back as JSON lines on
//! standard error, the result as one JSON document on standard output. Further lines of the input are faults that were done
//! ([`Injected`]) or, for a generator of several (see [`crate::crew`]), its orders; of several each answers with its part.

use std::{
    io::{BufRead, Write},
    path::Path,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{ChildStdin, Command},
    sync::mpsc::Receiver,
};

use chatlab_kit::lab::Workload;
use serde::{Deserialize, Serialize};

use crate::{
    bare::{self, BarePlan},
    faults::{Injected, Told},
    http_load::{self, HttpPlan},
    lab::{self, LabPlan},
    plan::{Plan, Progress},
    resp::{self, RespPlan},
    result::RunResult,
    sql::{self, SqlPlan},
    ws,
};

/// What a generator process is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// Load the chat server over WebSockets.
    Ws(Box<Plan>),
    /// Load a variant of a lab.
    Lab(Box<LabPlan>),
    /// Load Redis itself.
    Redis(Box<RespPlan>),
    /// Load a database.
    Sql(Box<SqlPlan>),
    /// Load an HTTP server.
    Http(Box<HttpPlan>),
    /// Read what a bare loop writes.
    Bare(Box<BarePlan>),
}

impl Job {
    /// The longest that it can take, in milliseconds.
    pub fn longest_ms(&self) -> u64 {
        match self {
            Self::Ws(plan) => plan.longest_ms(),
            Self::Lab(plan) => plan.longest_ms(),
            Self::Redis(plan) => plan.longest_ms(),
            Self::Sql(plan) => plan.longest_ms(),
            Self::Http(plan) => plan.longest_ms(),
            Self::Bare(plan) => plan.longest_ms(),
        }
    }
}

/// Progress is told at most this often.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// What the generator's exit code says when it could not give a result.
const EXIT_ERROR: i32 = 2;
/// Time beyond the plan's own bounds after which a generator counts as hung.
pub(crate) const HUNG_AFTER: Duration = Duration::from_secs(60);

/// The generator's side: reads the plan, runs it, writes the result. Blocks. `workload` finds what a plan of the driver
/// `lab` names: this crate knows no lab.
///
/// # Errors
/// A plan that can't be read or carried out.
pub fn serve_plan<F, Fut>(workload: F) -> anyhow::Result<()>
where
    F: FnOnce(LabPlan) -> Fut,
    Fut: Future<Output = anyhow::Result<Arc<dyn Workload>>>,
{
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("reading the plan")?;
    let job: Job = serde_json::from_str(&line).context("the plan is not what it should be")?;
    let (give, orders) = std::sync::mpsc::channel();
    let told = Told::default();
    let tell_of = told.clone();
    std::thread::Builder::new().name("watch-parent".into()).spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if let Ok(order) = serde_json::from_str(&line) {
                // A generator that runs by itself asks for none.
                let _ = give.send(order);
            } else if let Ok(injected) = serde_json::from_str(&line) {
                tell_of.push(injected);
            }
        }
        std::process::exit(EXIT_ERROR);
    })?;
    let mut last: Option<std::time::Instant> = None;
    let mut tell = |progress: Progress| {
        let must = matches!(progress, Progress::Begins { .. });
        if must || last.is_none_or(|at| at.elapsed() >= PROGRESS_EVERY) {
            last = Some(std::time::Instant::now());
            if let Ok(line) = serde_json::to_string(&progress) {
                eprintln!("{line}");
            }
        }
    };
    let result = match job {
        Job::Ws(plan) if plan.share.is_some() => {
            return answer(&ws::generate_part(*plan, &mut tell, &orders)?);
        }
        Job::Ws(plan) => ws::generate_told(*plan, &told, &mut tell)?,
        Job::Redis(plan) => resp::generate(*plan, &mut tell)?,
        Job::Sql(plan) => sql::generate(*plan, &mut tell)?,
        Job::Http(plan) => http_load::generate(*plan, &mut tell)?,
        Job::Bare(plan) => bare::generate(&plan, &mut tell)?,
        Job::Lab(plan) => lab::generate((*plan).clone(), || workload(*plan), &mut tell)?,
    };
    answer(&result)
}

fn answer(result: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, result)?;
    out.flush()?;
    Ok(())
}

/// Passes on what was done, for ever; only ends with an error.
async fn forward(injected: Option<Receiver<Injected>>, stdin: &mut ChildStdin) -> anyhow::Error {
    let Some(mut injected) = injected else { return std::future::pending().await };
    while let Some(one) = injected.recv().await {
        let line = serde_json::to_vec(&one).map(|mut line| {
            line.push(b'\n');
            line
        });
        let written = match line {
            Ok(line) => stdin.write_all(&line).await.context("telling the generator of a fault"),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = written {
            return error;
        }
    }
    std::future::pending().await
}

/// The asking side: runs `program args…`, which must end up in [`serve_plan`].
///
/// # Errors
/// When the process can't be started, gives no result, or hangs; with what it said.
pub async fn run_plan(
    program: &Path,
    args: &[&str],
    job: &Job,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> anyhow::Result<RunResult> {
    run_plan_with_faults(program, args, job, progress, None).await
}

/// The same; what comes from `injected` is told to the generator. It ends by itself: the sender may live on.
///
/// # Errors
/// As of [`run_plan`].
pub async fn run_plan_with_faults(
    program: &Path,
    args: &[&str],
    job: &Job,
    progress: &mut (dyn FnMut(Progress) + Send),
    injected: Option<Receiver<Injected>>,
) -> anyhow::Result<RunResult> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {} as the generator", program.display()))?;
    let (Some(mut stdin), Some(mut stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        bail!("the generator has no pipes");
    };
    let mut line = serde_json::to_vec(job)?;
    line.push(b'\n');
    let talk = async {
        stdin.write_all(&line).await.context("giving the plan to the generator")?;
        let mut output = Vec::new();
        let mut said = Vec::new();
        let listen = async {
            let mut lines = BufReader::new(stderr).lines();
            while let Some(line) = lines.next_line().await? {
                match serde_json::from_str(&line) {
                    Ok(seen) => progress(seen),
                    Err(_) => said.push(line),
                }
            }
            Ok::<_, std::io::Error>(())
        };
        let hear = async { tokio::try_join!(listen, stdout.read_to_end(&mut output)) };
        tokio::select! {
            heard = hear => heard.context("listening to the generator")?,
            stuck = forward(injected, &mut stdin) => return Err(stuck),
        };
        let status = child.wait().await?;
        if !status.success() {
            bail!("the generator ended with {status}: {}", said.join("; "));
        }
        serde_json::from_slice(&output).context("the generator's result is not what it should be")
    };
    let planned = Duration::from_millis(job.longest_ms());
    tokio::time::timeout(planned + HUNG_AFTER, talk).await.context("the generator hangs")?
}
