//! Facts: the entries of a journal that matter to an observer, in one form.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use super::{Journal, Note, Sequence, What};
use crate::ids::{Attempt, LaunchId, QueryId, TaskId, WorkerId};
use crate::{Action, Event, ExitCause, FailKind};

/// The kinds of facts. Each names the fields of [`Fact`] that are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FactKind {
    /// `query`.
    QueryBegan,
    /// `query`.
    QueryEnded,
    /// `task`, `query`.
    TaskSubmitted,
    /// `task`, `attempt`, `worker`, `launch`.
    TaskSent,
    /// `task`, `attempt`, `worker`, `launch`, `reason`: the worker did not take it, and the task is tried again.
    AttemptRefused,
    /// `task`, `attempt`, `worker`, `launch`: inputs could not be read.
    InputsMissing,
    /// `task`, `attempt`, `worker`, `launch`, `exit_cause`, `count`: the attempts that it used up (0 or 1).
    AttemptLost,
    /// `task`, `attempt`, `worker`, `launch`, `count`: the partitions that were published.
    TaskSucceeded,
    /// `task`, `attempt`, `worker`, `launch`: the task's own code failed.
    TaskFailed,
    /// `task`, `fail_kind`, `reason`: the infrastructure failed it.
    TaskLost,
    /// `task`.
    TaskCancelled,
    /// `worker`, `launch`.
    WorkerLaunched,
    /// `worker`, `launch`, `reason`: there is no room for it yet.
    WorkerPostponed,
    /// `worker`, `launch`.
    WorkerReady,
    /// `worker`, `launch`, `reason`: an elastic pool does not need it.
    WorkerReleased,
    /// `worker`, `launch`, `reason`: a process that was ready is gone, and with it all that it held and ran.
    WorkerLost,
    /// `worker`, `launch`, `reason`, `count`: it is replaced, as cancelled tasks hold its slots; the cancelled tasks.
    WorkerReplaced,
    /// `worker`, `launch`, `exit_cause`, `reason`: the end of a process, whether it was ready or not.
    ProcessEnded,
    /// `worker`, `launch`, `count`: partitions that were lost with it.
    SlotsLost,
    /// `count`: the workers that an elastic pool adds.
    PoolGrown,
    /// `reason`: no worker can come up any more.
    PoolUnavailable,
    /// `reason`: a defect of the session or its shell.
    Defect,
}

/// One fact. The fields that its kind does not name are `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Its number in the journal. Facts are not numbered without gaps.
    pub sequence: Sequence,
    /// The time since the session's start.
    pub at: Duration,
    /// The event or timer that led to it; itself, if it is the event.
    pub cause: Sequence,
    /// The name of that event or timer, e.g. `Exited`; `None` if it was dropped.
    pub cause_name: Option<String>,
    /// Its kind.
    pub kind: FactKind,
    /// The query.
    pub query: Option<QueryId>,
    /// The task.
    pub task: Option<TaskId>,
    /// The number of the attempt.
    pub attempt: Option<Attempt>,
    /// The worker.
    pub worker: Option<WorkerId>,
    /// The process of that worker.
    pub launch: Option<LaunchId>,
    /// A number of things; the kind tells of which.
    pub count: Option<u64>,
    /// The cause of the end of a process.
    pub exit_cause: Option<ExitCause>,
    /// The kind of failure that ended a task.
    pub fail_kind: Option<FailKind>,
    /// The reason, for people.
    pub reason: Option<Arc<str>>,
}

impl Journal {
    /// An entry as a fact; `None` if it is none, or none any more.
    #[must_use]
    pub fn fact(&self, sequence: Sequence) -> Option<Fact> {
        let entry = self.get(sequence)?;
        let mut fact = Fact::of(&entry.what)?;
        (fact.sequence, fact.at, fact.cause) = (sequence, entry.at, entry.cause);
        fact.cause_name = self.get(entry.cause).map(|cause| cause.what.name());
        Some(fact)
    }
}

impl Fact {
    /// The fact that an entry tells of, without its place. A new event or action is none until it has a line here.
    fn of(what: &What) -> Option<Self> {
        match what {
            What::Event { event, .. } => Self::of_event(event),
            What::Due(_) => None,
            What::Action(action) => Self::of_action(action),
            What::Note(note) => Some(Self::of_note(note)),
        }
    }

    fn of_event(event: &Event) -> Option<Self> {
        Some(match event {
            Event::QueryBegan(query) => Self::new(FactKind::QueryBegan).query(query),
            Event::QueryEnded(query) => Self::new(FactKind::QueryEnded).query(query),
            Event::Submit { task, query, .. } => {
                let fact = Self::new(FactKind::TaskSubmitted).query(query);
                Self { task: Some(*task), ..fact }
            }
            Event::Postponed { worker, launch, reason } => {
                Self::new(FactKind::WorkerPostponed).process(*worker, *launch).reason(&reason.as_str().into())
            }
            _ => return None,
        })
    }

    fn of_action(action: &Action) -> Option<Self> {
        Some(match action {
            Action::Send { task, attempt, worker, launch } => {
                Self::new(FactKind::TaskSent).process(*worker, *launch).attempt(*task, *attempt)
            }
            Action::Deliver { task, attempt, worker, launch, published } => {
                let kind = if published.is_some() { FactKind::TaskSucceeded } else { FactKind::TaskFailed };
                let fact = Self::new(kind).process(*worker, *launch).attempt(*task, *attempt);
                Self { count: published.map(u64::from), ..fact }
            }
            Action::FailTask { task, kind, message } => {
                let fact = Self::new(FactKind::TaskLost).reason(message);
                Self { task: Some(*task), fail_kind: Some(*kind), ..fact }
            }
            Action::Cancelled { task } => Self { task: Some(*task), ..Self::new(FactKind::TaskCancelled) },
            Action::Launch { worker, launch } => Self::new(FactKind::WorkerLaunched).process(*worker, *launch),
            Action::WorkerReady { worker, launch, .. } => Self::new(FactKind::WorkerReady).process(*worker, *launch),
            Action::WorkerLost { worker, launch, reason, .. } => {
                Self::new(FactKind::WorkerLost).process(*worker, *launch).reason(reason)
            }
            Action::Replaced { worker, launch, calls, tasks, .. } => {
                Self::new(FactKind::WorkerReplaced).process(*worker, *launch).reason(calls).count(tasks.len() as u64)
            }
            Action::Grown { by, .. } => Self::new(FactKind::PoolGrown).count(u64::from(*by)),
            Action::Unavailable { message } => Self::new(FactKind::PoolUnavailable).reason(message),
            Action::Defect { message } => Self::new(FactKind::Defect).reason(message),
            _ => return None,
        })
    }

    fn of_note(note: &Note) -> Self {
        match note {
            Note::AttemptRefused { task, attempt, worker, launch, reason } => {
                let fact = Self::new(FactKind::AttemptRefused).process(*worker, *launch);
                fact.attempt(*task, *attempt).reason(reason)
            }
            Note::InputsMissing { task, attempt, worker, launch } => {
                Self::new(FactKind::InputsMissing).process(*worker, *launch).attempt(*task, *attempt)
            }
            Note::AttemptLost { task, attempt, worker, launch, cause, charged } => {
                let fact = Self::new(FactKind::AttemptLost).process(*worker, *launch).attempt(*task, *attempt);
                Self { exit_cause: Some(*cause), ..fact.count(u64::from(*charged)) }
            }
            Note::ProcessEnded { worker, launch, cause, reason } => {
                let fact = Self::new(FactKind::ProcessEnded).process(*worker, *launch).reason(reason);
                Self { exit_cause: Some(*cause), ..fact }
            }
            Note::SlotsLost { worker, launch, slots } => {
                Self::new(FactKind::SlotsLost).process(*worker, *launch).count(*slots)
            }
            Note::Released { worker, launch, reason } => {
                Self::new(FactKind::WorkerReleased).process(*worker, *launch).reason(reason)
            }
        }
    }

    const fn new(kind: FactKind) -> Self {
        Self {
            sequence: Sequence(0),
            at: Duration::ZERO,
            cause: Sequence(0),
            cause_name: None,
            kind,
            query: None,
            task: None,
            attempt: None,
            worker: None,
            launch: None,
            count: None,
            exit_cause: None,
            fail_kind: None,
            reason: None,
        }
    }

    fn query(self, query: &QueryId) -> Self {
        Self { query: Some(query.clone()), ..self }
    }

    fn process(self, worker: WorkerId, launch: LaunchId) -> Self {
        Self { worker: Some(worker), launch: Some(launch), ..self }
    }

    fn attempt(self, task: TaskId, attempt: Attempt) -> Self {
        Self { task: Some(task), attempt: Some(attempt), ..self }
    }

    fn count(self, count: u64) -> Self {
        Self { count: Some(count), ..self }
    }

    fn reason(self, reason: &Arc<str>) -> Self {
        Self { reason: Some(reason.clone()), ..self }
    }
}

impl What {
    /// The name of the event, timer, action or note.
    #[must_use]
    pub fn name(&self) -> String {
        let mut name = Head(String::new());
        // The formatter is stopped by an error at the end of the name.
        let _ = match self {
            Self::Event { event, .. } => write!(name, "{event:?}"),
            Self::Due(timer) => write!(name, "{timer:?}"),
            Self::Action(action) => write!(name, "{action:?}"),
            Self::Note(note) => write!(name, "{note:?}"),
        };
        name.0
    }
}

/// Takes the first word of a text, and no more: the name of an enum's variant, whatever it holds.
struct Head(String);

impl Write for Head {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.find(|letter: char| !letter.is_alphanumeric());
        self.0.push_str(&text[..end.unwrap_or(text.len())]);
        end.map_or(Ok(()), |_| Err(fmt::Error))
    }
}
