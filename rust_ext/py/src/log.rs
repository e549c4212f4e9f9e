//! Hands what the crates log on to Python's logging, with its fields, on a thread of its own.
//!
//! Logging neither blocks nor takes the GIL, and never fails. There is room for some thousand records; what comes beyond
//! that is dropped, and the number is logged. Records below the level of Python's logger are not made. That level is read
//! when the logger is set, with each delivery, and when a query begins.

use std::{
    fmt::{self, Write},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI32, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use pyo3::{
    exceptions::PyRuntimeError,
    prelude::*,
    types::{PyDict, PyString},
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record as SpanRecord},
    subscriber::Interest,
};

use crate::{driver::seconds, runtime};

/// Records that wait for the thread.
const ROOM: usize = 4_096;
/// Between two looks for room.
const PAUSE: Duration = Duration::from_millis(5);

/// The name of the thread that writes. `daft_k8s.worker.abandoned_calls` knows it by this name.
const THREAD: &str = "daft-k8s-log";

/// The events of these crates are logged; those of libraries are not.
const OURS: &str = "daft_k8s";

static LOG: OnceLock<Arc<Shared>> = OnceLock::new();

struct Shared {
    letters: SyncSender<Letter>,
    /// The least level that Python's logger takes.
    least: AtomicI32,
    dropped: AtomicU64,
    logger: Mutex<Option<Py<PyAny>>>,
}

enum Letter {
    Record(Record),
    /// All that came before has been delivered.
    Flush(SyncSender<()>),
}

struct Record {
    level: i32,
    message: String,
    fields: Vec<(&'static str, Value)>,
}

enum Value {
    Number(i64),
    Share(f64),
    Truth(bool),
    Text(String),
}

/// Logs to this logger of Python's from now on.
#[pyfunction]
pub(crate) fn log_to(py: Python<'_>, logger: Py<PyAny>) -> PyResult<()> {
    if LOG.get().is_none() {
        let (letters, posted) = sync_channel(ROOM);
        let (least, dropped) = (AtomicI32::new(0), AtomicU64::new(0));
        let shared = Arc::new(Shared { letters, least, dropped, logger: Mutex::new(None) });
        let carrier = shared.clone();
        std::thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || carry(&carrier, &posted))
            .map_err(|error| PyRuntimeError::new_err(format!("cannot start the thread that logs: {error}")))?;
        if LOG.set(shared.clone()).is_ok() {
            // Fails only where another subscriber was set, which no code of this extension does.
            let _ = tracing::subscriber::set_global_default(ToPython(shared));
        }
    }
    if let Some(shared) = LOG.get() {
        *shared.logger.lock() = Some(logger);
        shared.read_level(py);
    }
    Ok(())
}

/// Waits until all that was logged so far is delivered. Returns false after the time-out.
#[pyfunction]
#[pyo3(signature = (timeout_seconds=1.0))]
pub(crate) fn flush_log(py: Python<'_>, timeout_seconds: f64) -> PyResult<bool> {
    let timeout = seconds(timeout_seconds)?;
    // The thread does not exist in a forked child.
    if runtime::handle().is_err() {
        return Ok(false);
    }
    let Some(shared) = LOG.get() else { return Ok(true) };
    // Released: the thread needs the GIL to deliver.
    Ok(py.detach(|| shared.flush(timeout)))
}

/// Takes in a level that has been changed.
pub(crate) fn read_level(py: Python<'_>) {
    if let Some(shared) = LOG.get() {
        shared.read_level(py);
    }
}

impl Shared {
    fn logger(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.logger.lock().as_ref().map(|logger| logger.clone_ref(py))
    }

    fn read_level(&self, py: Python<'_>) {
        let Some(logger) = self.logger(py) else { return };
        let level = logger.call_method0(py, pyo3::intern!(py, "getEffectiveLevel"));
        match level.and_then(|level| level.extract::<i32>(py)) {
            Ok(level) => self.least.store(level, Ordering::Relaxed),
            Err(error) => error.write_unraisable(py, None),
        }
    }

    fn flush(&self, timeout: Duration) -> bool {
        let end = Instant::now().checked_add(timeout);
        let is_late = || end.is_some_and(|end| Instant::now() >= end);
        let (done, is_done) = sync_channel(1);
        let mut letter = Letter::Flush(done);
        // There may be no room, as the thread writes slowly or hangs.
        while let Err(TrySendError::Full(back)) = self.letters.try_send(letter) {
            if is_late() {
                return false;
            }
            letter = back;
            std::thread::sleep(PAUSE);
        }
        let left = end.map_or(timeout, |end| end.saturating_duration_since(Instant::now()));
        is_done.recv_timeout(left).is_ok()
    }

    fn deliver(&self, py: Python<'_>, records: Vec<Record>) {
        let Some(logger) = self.logger(py) else { return };
        if let Err(error) = name_thread(py) {
            error.write_unraisable(py, None);
        }
        for record in records {
            if let Err(error) = record.log(py, &logger) {
                error.write_unraisable(py, None);
            }
        }
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let message = format!("{dropped} log records were dropped, as more came than could be written");
            let record = Record { level: number_of(Level::WARN), message, fields: vec![] };
            if let Err(error) = record.log(py, &logger) {
                error.write_unraisable(py, None);
            }
        }
        self.read_level(py);
    }
}

impl Record {
    fn log(self, py: Python<'_>, logger: &Py<PyAny>) -> PyResult<()> {
        let extra = PyDict::new(py);
        for (name, value) in self.fields {
            match value {
                Value::Number(number) => extra.set_item(name, number)?,
                Value::Share(share) => extra.set_item(name, share)?,
                Value::Truth(truth) => extra.set_item(name, truth)?,
                Value::Text(text) => extra.set_item(name, text)?,
            }
        }
        let keywords = PyDict::new(py);
        keywords.set_item(pyo3::intern!(py, "extra"), extra)?;
        let arguments = (self.level, "%s", PyString::new(py, &self.message));
        logger.call_method(py, pyo3::intern!(py, "log"), arguments, Some(&keywords)).map(drop)
    }
}

/// Tells Python the name of this thread. Python may forget the name when the thread releases the GIL.
fn name_thread(py: Python<'_>) -> PyResult<()> {
    let thread = py.import(pyo3::intern!(py, "threading"))?.call_method0(pyo3::intern!(py, "current_thread"))?;
    thread.setattr(pyo3::intern!(py, "name"), THREAD)
}

fn carry(shared: &Shared, posted: &Receiver<Letter>) {
    while let Ok(first) = posted.recv() {
        let (mut records, mut flushed) = (Vec::new(), Vec::new());
        for letter in std::iter::once(first).chain(posted.try_iter()) {
            match letter {
                Letter::Record(record) => records.push(record),
                Letter::Flush(done) => flushed.push(done),
            }
        }
        // Not `attach`: the interpreter may be finalising, and then nobody wants the records any more.
        if Python::try_attach(|py| shared.deliver(py, records)).is_none() {
            return;
        }
        for done in flushed {
            let _ = done.send(());
        }
    }
}

/// The number of a level in Python's logging.
const fn number_of(level: Level) -> i32 {
    match level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        Level::DEBUG => 10,
        Level::TRACE => 5,
    }
}

/// The one subscriber of the process.
struct ToPython(Arc<Shared>);

impl Subscriber for ToPython {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.target().starts_with(OURS) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(OURS) && number_of(*metadata.level()) >= self.0.least.load(Ordering::Relaxed)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &SpanRecord<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let level = number_of(*event.metadata().level());
        let mut record = Record { level, message: String::new(), fields: Vec::new() };
        event.record(&mut record);
        if self.0.letters.try_send(Letter::Record(record)).is_err() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Visit for Record {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a String does not fail.
            let _ = write!(self.message, "{value:?}");
        } else {
            self.fields.push((field.name(), Value::Text(format!("{value:?}"))));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.push((field.name(), Value::Text(value.to_owned())));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.push((field.name(), Value::Number(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.push((field.name(), Value::Number(i64::try_from(value).unwrap_or(i64::MAX))));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fields.push((field.name(), Value::Share(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.push((field.name(), Value::Truth(value)));
    }
}
