//! Several generators as processes of this machine, and what is the same for those of others: taking in what all tell, and
//! giving the orders that follow from it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStderr, Command},
    sync::mpsc::{Receiver, Sender, channel},
    task::JoinHandle,
};

use crate::{
    crew::{
        Order, Part, clock,
        conductor::{Conductor, Next},
        merge::{Origin, merge},
        shares,
    },
    plan::{Plan, Progress},
    process::{HUNG_AFTER, Job},
    result::RunResult,
};

/// Reports that wait to be taken in, of all generators together.
const EVENTS: usize = 1_024;
/// Orders that wait to be written, a generator: there are two in a run.
const ORDERS: usize = 4;
/// From the order to begin until the warm-up's first arrival: longer than an order is under way.
const LEAD_NS: u64 = 500_000_000;
/// The most that a generator says beside its reports and that is kept, in lines.
const MAX_SAID: usize = 20;

/// What a generator does next.
#[derive(Debug)]
pub enum Event {
    /// It tells where it is.
    Told(Progress),
    /// It is done.
    Done(Box<Part>, Option<(clock::Offset, clock::Offset)>),
    /// It gives no result, and why.
    Failed(String),
}

/// A generator that was started: it ends when this is dropped.
#[derive(Debug)]
pub struct Member {
    /// For orders.
    pub orders: Sender<Order>,
    task: JoinHandle<()>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How generators are started: `program args…` must end up in [`crate::process::serve_plan`].
#[derive(Clone, Debug)]
pub struct Starter {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
}

impl Starter {
    /// Starts generator number `index`; what it tells goes into `events`.
    ///
    /// # Errors
    /// When the process can't be started.
    pub fn start(&self, index: usize, plan: Plan, events: Sender<(usize, Event)>) -> anyhow::Result<Member> {
        let mut child = Command::new(&self.program)
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {} as a generator", self.program.display()))?;
        let (orders, told) = channel(ORDERS);
        let task = tokio::spawn(async move {
            let last = match live(&mut child, plan, told, index, &events).await {
                Ok(part) => Event::Done(Box::new(part), None),
                Err(error) => Event::Failed(format!("{error:#}")),
            };
            // Nobody listens to one that is given up.
            let _ = events.send((index, last)).await;
        });
        Ok(Member { orders, task })
    }
}

/// The life of one process: its plan, its reports, its orders, its part.
async fn live(
    child: &mut Child,
    plan: Plan,
    mut orders: Receiver<Order>,
    index: usize,
    events: &Sender<(usize, Event)>,
) -> anyhow::Result<Part> {
    let (Some(mut stdin), Some(mut stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        bail!("the generator has no pipes");
    };
    let mut line = serde_json::to_vec(&Job::Ws(Box::new(plan)))?;
    line.push(b'\n');
    stdin.write_all(&line).await.context("giving the plan to the generator")?;
    let obey = async {
        while let Some(order) = orders.recv().await {
            let mut line = serde_json::to_vec(&order)?;
            line.push(b'\n');
            stdin.write_all(&line).await?;
        }
        // Its input stays open: it would end with it.
        std::future::pending::<std::io::Result<()>>().await
    };
    let mut output = Vec::new();
    let listen = async { tokio::try_join!(told(stderr, index, events), stdout.read_to_end(&mut output)) };
    let said = tokio::select! {
        listened = listen => listened.context("listening to the generator")?.0,
        obeyed = obey => bail!("the generator takes no orders: {obeyed:?}"),
    };
    let status = child.wait().await?;
    if !status.success() {
        bail!("the generator ended with {status}: {}", said.join("; "));
    }
    serde_json::from_slice(&output).context("the generator's part is not what it should be")
}

/// Hands on the reports; what else was said comes back.
async fn told(
    stderr: ChildStderr,
    index: usize,
    events: &Sender<(usize, Event)>,
) -> std::io::Result<Vec<String>> {
    let mut said = Vec::new();
    let mut lines = BufReader::new(stderr).lines();
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str(&line) {
            Ok(progress) => {
                let _ = events.send((index, Event::Told(progress))).await;
            }
            Err(_) if said.len() < MAX_SAID => said.push(line),
            Err(_) => {}
        }
    }
    Ok(said)
}

/// Runs a plan by several generators on this machine: `program args…` each.
///
/// # Errors
/// When one of them can't be started, gives no result or hangs; then there is no result at all.
pub async fn run(
    program: &Path,
    args: &[&str],
    plan: &Plan,
    generators: usize,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> anyhow::Result<RunResult> {
    let starter =
        Starter { program: program.to_owned(), args: args.iter().map(|&arg| arg.to_owned()).collect() };
    let origin_ns = clock::unix_ns();
    let run = uuid::Uuid::new_v4().as_u128() as u32;
    let (events, told) = channel(EVENTS);
    let mut members = Vec::with_capacity(generators);
    for (index, share) in shares(plan, generators, run, origin_ns)?.into_iter().enumerate() {
        members.push(starter.start(index, share, events.clone())?);
    }
    drop(events);
    let longest = Duration::from_millis(plan.longest_ms()) + HUNG_AFTER;
    let orders: Vec<_> = members.iter().map(|member| member.orders.clone()).collect();
    let parts = tokio::time::timeout(longest, conduct(&orders, told, origin_ns, progress))
        .await
        .context("the generators hang")??;
    let here = Origin { place: "this machine".to_owned(), clock: None };
    let origins = vec![here; parts.len()];
    Ok(merge(parts.into_iter().map(|(part, _)| part).collect(), &origins)?)
}

/// A generator's part, and its clock before and after, where it has one of its own.
pub type Delivered = (Part, Option<(clock::Offset, clock::Offset)>);

/// Keeps generators together until each has given its part: in the order of `orders`.
///
/// # Errors
/// When one fails.
pub async fn conduct(
    orders: &[Sender<Order>],
    mut told: Receiver<(usize, Event)>,
    origin_unix_ns: u64,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> anyhow::Result<Vec<Delivered>> {
    let mut conductor = Conductor::new(orders.len());
    let mut parts: Vec<Option<Delivered>> = orders.iter().map(|_| None).collect();
    while parts.iter().any(Option::is_none) {
        let (index, event) = told.recv().await.context("a generator is gone")?;
        match event {
            Event::Told(seen) => {
                let next = conductor.see(index, &seen);
                let begin_ns = clock::unix_ns().saturating_sub(origin_unix_ns) + LEAD_NS;
                if let Some(order) = Conductor::order(next, begin_ns) {
                    for to in orders {
                        // One that is gone says so by itself.
                        let _ = to.send(order).await;
                    }
                }
                if next != Next::End {
                    progress(conductor.whole());
                }
            }
            Event::Done(part, clock) => parts[index] = Some((*part, clock)),
            Event::Failed(why) => bail!("generator {}: {why}", index + 1),
        }
    }
    Ok(parts.into_iter().flatten().collect())
}
