//! The thread that writes a recording while the run goes on.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{LineWriter, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use hdrhistogram::serialization::{
    V2DeflateSerializer,
    interval_log::{IntervalLogWriter, IntervalLogWriterBuilder, Tag},
};

use super::{
    HEADER, Live, MAX_PENDING_S, PACING, RESPONSE, RESULT, RecordingError, Row, SERVICE, TAG_SEND, TAGS,
    TIMELINE,
    live::{Block, Histograms, INTERVAL_NS, Message, NOT_BEGUN},
    unwritable, write_distributions, write_result,
};
use crate::{procstat::ProcStat, recorder::Latency, result::RunResult};

/// Blocks on their way to the writer; about 0.7 MB each.
const QUEUE: usize = 16;

/// The processes whose CPU time goes into the timeline, beside the generator's own.
#[derive(Clone, Debug, Default)]
pub struct Observe {
    /// The servers'.
    pub server_pids: Vec<u32>,
    /// The Redis nodes'.
    pub redis_pids: Vec<u32>,
}

type Start = Arc<Mutex<Option<(Instant, SystemTime)>>>;

/// A recording that goes on: a driver makes one before the run, gives each of its threads a [`Live`], says when the window
/// begins, and finishes it with the result.
#[derive(Debug)]
pub struct Recording {
    dir: PathBuf,
    to: SyncSender<Message>,
    start_ns: Arc<AtomicU64>,
    start: Start,
    thread: JoinHandle<Result<(), RecordingError>>,
}

impl Recording {
    /// Makes the folder and its files. `sources` is how many [`Live`]s there will be; `due` how many arrivals the schedule
    /// has in each second ([`crate::schedule::Schedule::due_by_second`]), none in a closed loop.
    ///
    /// # Errors
    /// [`RecordingError`]: the folder can't be written, or holds a run.
    pub fn start(
        dir: &Path,
        sources: usize,
        due: Option<Vec<u64>>,
        observe: Observe,
    ) -> Result<Self, RecordingError> {
        fs::create_dir_all(dir).map_err(|e| unwritable(dir, &e))?;
        if dir.join(RESULT).exists() {
            return Err(RecordingError::Taken(dir.to_owned()));
        }
        let files = Files::create(dir)?;
        let (to, from) = sync_channel(QUEUE);
        let start: Start = Arc::default();
        let state = State {
            start: start.clone(),
            passed: vec![0; sources],
            due,
            observe,
            pending: BTreeMap::new(),
            written_s: 0,
            cpu: Cpu::default(),
        };
        let thread = std::thread::Builder::new()
            .name("recording".into())
            .spawn(move || state.run(files, &from))
            .map_err(|e| RecordingError::Thread(e.to_string()))?;
        Ok(Self { dir: dir.to_owned(), to, start_ns: Arc::new(AtomicU64::new(NOT_BEGUN)), start, thread })
    }

    /// What thread number `source`, from 0, records into.
    ///
    /// # Errors
    /// [`RecordingError`] when a histogram can't be made.
    pub fn source(&self, source: usize) -> Result<Live, RecordingError> {
        Live::new(source, self.to.clone(), self.start_ns.clone())
            .map_err(|e| RecordingError::Thread(e.to_string()))
    }

    /// Says when the window begins: nanoseconds on the run's clock, which began at `origin`. Only what is recorded from then
    /// on goes into the files.
    pub fn begin(&self, origin: Instant, window_start_ns: u64) {
        let at = origin + Duration::from_nanos(window_start_ns);
        let (now, wall) = (Instant::now(), SystemTime::now());
        let wall = wall + at.saturating_duration_since(now) - now.saturating_duration_since(at);
        *self.start.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, wall));
        self.start_ns.store(window_start_ns, Relaxed);
        // The writer is gone only when it failed; `finish` says how.
        let _ = self.to.send(Message::Begin);
    }

    /// Writes what is left, and the result. Every [`Live`] must have been dropped.
    ///
    /// # Errors
    /// [`RecordingError`] names the file that could not be written.
    pub fn finish(self, result: &RunResult) -> Result<(), RecordingError> {
        let _ = self.to.send(Message::End);
        self.thread.join().map_err(|_| RecordingError::Thread("the writer panicked".into()))??;
        write_distributions(&self.dir, result)?;
        write_result(&self.dir, result)
    }
}

struct Files {
    paths: [PathBuf; 3],
    logs: [LineWriter<File>; 3],
    timeline: (PathBuf, LineWriter<File>),
}

impl Files {
    fn create(dir: &Path) -> Result<Self, RecordingError> {
        let paths = [RESPONSE, SERVICE, PACING].map(|name| dir.join(name));
        let create =
            |path: &PathBuf| File::create(path).map(LineWriter::new).map_err(|e| unwritable(path, &e));
        let timeline = dir.join(TIMELINE);
        Ok(Self {
            logs: [create(&paths[0])?, create(&paths[1])?, create(&paths[2])?],
            timeline: (timeline.clone(), create(&timeline)?),
            paths,
        })
    }
}

type Log<'a> = IntervalLogWriter<'a, 'a, LineWriter<File>, V2DeflateSerializer>;

/// What several threads recorded in one second.
struct Second {
    len_s: u64,
    sent: u64,
    errors: u64,
    histograms: Option<Box<Histograms>>,
}

impl Second {
    fn add(&mut self, block: Block) {
        self.len_s = self.len_s.max(block.to_s.saturating_sub(block.from_s));
        self.sent += block.sent;
        self.errors += block.errors;
        match (&mut self.histograms, block.histograms) {
            (Some(mine), Some(theirs)) => mine.merge(&theirs),
            (mine @ None, theirs) => *mine = theirs,
            (Some(_), None) => {}
        }
    }
}

/// CPU time of generator, servers and Redis, second by second.
#[derive(Default)]
struct Cpu {
    /// The second that goes on.
    second: u64,
    last: Option<(Instant, [Option<ProcStat>; 3])>,
    shares: BTreeMap<u64, [Option<f64>; 3]>,
}

impl Cpu {
    fn sample(&mut self, start: Instant, observe: &Observe) {
        let now = Instant::now();
        let second = now.saturating_duration_since(start).as_nanos() as u64 / INTERVAL_NS;
        if now < start || (self.last.is_some() && second == self.second) {
            return;
        }
        let stats = [
            ProcStat::of(std::process::id()),
            ProcStat::sum(&observe.server_pids),
            ProcStat::sum(&observe.redis_pids),
        ];
        if let Some((at, before)) = &self.last {
            let wall_s = now.duration_since(*at).as_secs_f64().max(1e-9);
            let share = |i: usize| Some((stats[i]?.cpu_s - before[i]?.cpu_s) / wall_s);
            self.shares.insert(self.second, [share(0), share(1), share(2)]);
            // A writer that is never waited for must not pile them up either.
            while self.shares.len() > MAX_PENDING_S {
                self.shares.pop_first();
            }
        }
        self.last = Some((now, stats));
        self.second = second;
    }
}

struct State {
    start: Start,
    /// By thread: the first second that it may still say something about.
    passed: Vec<u64>,
    due: Option<Vec<u64>>,
    observe: Observe,
    pending: BTreeMap<u64, Second>,
    written_s: u64,
    cpu: Cpu,
}

impl State {
    fn run(mut self, mut files: Files, from: &Receiver<Message>) -> Result<(), RecordingError> {
        let (path, timeline) = (files.timeline.0.clone(), &mut files.timeline.1);
        writeln!(timeline, "{HEADER}").map_err(|e| unwritable(&path, &e))?;
        // Nothing is recorded before the window begins, but a thread may end before it; without a window there are empty logs.
        while let Ok(Message::Block(block)) = from.recv() {
            self.take(block);
        }
        let start = *self.start.lock().unwrap_or_else(PoisonError::into_inner);
        let mut builder = IntervalLogWriterBuilder::new();
        builder.add_comment("[Microseconds; seconds after the window's start]");
        if let Some((_, wall)) = start {
            builder.with_start_time(wall).with_base_time(wall);
        }
        let mut serializers = [(); 3].map(|()| V2DeflateSerializer::new());
        let mut logs = Vec::with_capacity(files.logs.len());
        for ((log, serializer), path) in files.logs.iter_mut().zip(&mut serializers).zip(&files.paths) {
            logs.push(builder.begin_log_with(log, serializer).map_err(|e| unwritable(path, &e))?);
        }
        let mut out = Out { paths: &files.paths, logs, timeline, timeline_path: &path };
        let Some((start, _)) = start else { return Ok(()) };
        loop {
            let begun = u64::from(self.cpu.last.is_some());
            let next = start + Duration::from_nanos((self.cpu.second + begun) * INTERVAL_NS);
            match from.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Message::Block(block)) => self.take(block),
                Ok(Message::Begin) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => break,
            }
            self.cpu.sample(start, &self.observe);
            let safe = self.passed.iter().copied().min().unwrap_or(0).min(self.cpu.second);
            while self.written_s < safe || self.pending.len() > MAX_PENDING_S {
                self.write_second(&mut out)?;
            }
        }
        let planned = self.due.as_ref().map_or(0, Vec::len) as u64;
        let end = self.pending.last_key_value().map_or(0, |(last, _)| last + 1).max(planned);
        while self.written_s < end {
            self.write_second(&mut out)?;
        }
        Ok(())
    }

    fn take(&mut self, block: Block) {
        if let Some(passed) = self.passed.get_mut(block.source) {
            *passed = if block.last { u64::MAX } else { block.to_s };
        }
        if block.sent == 0 && block.errors == 0 && block.histograms.is_none() {
            return;
        }
        // What comes too late for its own second is in the first that is not written yet.
        let second = block.from_s.max(self.written_s);
        let empty = Second { len_s: 1, sent: 0, errors: 0, histograms: None };
        self.pending.entry(second).or_insert(empty).add(block);
    }

    fn write_second(&mut self, out: &mut Out<'_>) -> Result<(), RecordingError> {
        let second = self.written_s;
        self.written_s += 1;
        let seen = self.pending.remove(&second);
        let shares = self.cpu.shares.remove(&second).unwrap_or_default();
        let due = self.due.as_ref().map(|due| due.get(second as usize).copied().unwrap_or(0));
        let mut row = Row {
            second,
            due,
            generator_cores: shares[0],
            server_cores: shares[1],
            redis_cores: shares[2],
            ..Row::default()
        };
        if let Some(seen) = seen {
            (row.sent, row.errors) = (seen.sent, seen.errors);
            if let Some(histograms) = &seen.histograms {
                let [ack, delivery] = &histograms.response;
                (row.acked, row.delivered) = (ack.count(), delivery.count());
                (row.ack_p50_us, row.ack_p99_us) = (ack.quantile_us(0.5), ack.quantile_us(0.99));
                (row.delivery_p50_us, row.delivery_p99_us) =
                    (delivery.quantile_us(0.5), delivery.quantile_us(0.99));
                out.intervals(second, seen.len_s, histograms)?;
            }
        }
        writeln!(out.timeline, "{}", row.line()).map_err(|e| unwritable(out.timeline_path, &e))
    }
}

/// The files, with the logs begun.
struct Out<'a> {
    paths: &'a [PathBuf; 3],
    logs: Vec<Log<'a>>,
    timeline: &'a mut LineWriter<File>,
    timeline_path: &'a Path,
}

impl Out<'_> {
    fn intervals(&mut self, second: u64, len_s: u64, seen: &Histograms) -> Result<(), RecordingError> {
        fn tagged(all: &[Latency; 2]) -> Vec<(&'static str, &Latency)> {
            TAGS.into_iter().zip(all).collect()
        }
        let lines = [tagged(&seen.response), tagged(&seen.service), vec![(TAG_SEND, &seen.pacing)]];
        for ((log, path), lines) in self.logs.iter_mut().zip(self.paths).zip(lines) {
            for (tag, latency) in lines.into_iter().filter(|(_, latency)| latency.count() > 0) {
                let (at, long) = (Duration::from_secs(second), Duration::from_secs(len_s));
                log.write_histogram(latency.histogram(), at, long, Tag::new(tag))
                    .map_err(|e| unwritable(path, &e))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{IntervalLog, Stage, timeline};

    const S: u64 = INTERVAL_NS;

    #[test]
    fn a_thread_that_says_nothing_is_not_waited_for_and_what_it_says_later_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let recording = Recording::start(dir, 2, None, Observe::default()).unwrap();
        let (mut busy, mut late) = (recording.source(0).unwrap(), recording.source(1).unwrap());
        recording.begin(Instant::now(), 0);
        // On a clock of its own: two minutes of it take no time.
        for second in 0..120 {
            busy.done(Stage::Ack, second * S + 1, 2_000_000, 1_000_000);
        }
        late.done(Stage::Ack, 2, 3_000_000, 3_000_000);
        drop((busy, late));
        recording.to.send(Message::End).unwrap();
        recording.thread.join().unwrap().unwrap();
        let log = IntervalLog::read(&dir.join(RESPONSE)).unwrap();
        assert_eq!(log.merged("ack").unwrap().count(), 121);
        assert!(log.intervals().all(|interval| interval.unwrap().len_s >= 1.0));
        let text = fs::read_to_string(dir.join(TIMELINE)).unwrap();
        let rows = timeline::parse(Path::new(TIMELINE), &text).unwrap();
        assert_eq!(rows.iter().map(|row| row.acked).sum::<u64>(), 121);
        assert!(rows.iter().all(|row| row.due.is_none()), "a closed loop has nothing due");
    }

    #[test]
    fn a_thread_that_ends_before_the_window_does_not_end_the_recording() {
        let folder = tempfile::tempdir().unwrap();
        let recording = Recording::start(folder.path(), 2, Some(vec![1, 0]), Observe::default()).unwrap();
        drop(recording.source(0).unwrap());
        let mut live = recording.source(1).unwrap();
        recording.begin(Instant::now(), 0);
        live.sent(S / 2, 1_000);
        drop(live);
        recording.to.send(Message::End).unwrap();
        recording.thread.join().unwrap().unwrap();
        let log = IntervalLog::read(&folder.path().join(PACING)).unwrap();
        assert_eq!((log.merged(TAG_SEND).unwrap().count(), log.start_unix_s().is_some()), (1, true));
        let text = fs::read_to_string(folder.path().join(TIMELINE)).unwrap();
        assert_eq!(
            timeline::parse(Path::new(TIMELINE), &text).unwrap().len(),
            2,
            "a row for each planned second"
        );
    }

    #[test]
    fn a_run_without_a_window_leaves_empty_logs() {
        let folder = tempfile::tempdir().unwrap();
        let recording = Recording::start(folder.path(), 1, None, Observe::default()).unwrap();
        drop(recording.source(0).unwrap());
        recording.to.send(Message::End).unwrap();
        recording.thread.join().unwrap().unwrap();
        let log = IntervalLog::read(&folder.path().join(RESPONSE)).unwrap();
        assert_eq!((log.intervals().count(), log.start_unix_s()), (0, None));
    }
}
