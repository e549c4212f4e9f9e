//! The name of a partition: the task attempt that made it, and the slot among its outputs.

use std::{fmt, str::FromStr, sync::Arc};

/// Names one partition. Its text form is `<task>:<slot>`; the task may contain `/`, `.` and `:`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    /// The key of the task attempt, `<query>/<task>.<attempt>`.
    pub task: Arc<str>,
    /// The number of the task's output.
    pub slot: u32,
}

/// Why a text is not a ticket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// The text has not the form `<task>:<slot>`.
    #[error("not a ticket of the form <task>:<slot>: {0:?}")]
    Malformed(String),
    /// The bytes are not UTF-8.
    #[error("a ticket must be UTF-8 text")]
    NotText,
}

impl Ticket {
    /// The ticket of a task's output number `slot`.
    pub fn new(task: impl Into<Arc<str>>, slot: u32) -> Self {
        Self { task: task.into(), slot }
    }

    /// Many tickets as one text, one on each line.
    pub fn join(tickets: &[Self]) -> String {
        let mut text = String::with_capacity(tickets.len() * 48);
        for ticket in tickets {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&ticket.task);
            text.push(':');
            text.push_str(&ticket.slot.to_string());
        }
        text
    }

    /// The inverse of [`Ticket::join`]; at least one ticket is required.
    pub fn parse_many(bytes: &[u8]) -> Result<Vec<Self>, TicketError> {
        let text = std::str::from_utf8(bytes).map_err(|_| TicketError::NotText)?;
        let mut tickets: Vec<Self> = Vec::new();
        for line in text.split('\n') {
            let (task, slot) = split(line)?;
            // Neighbours are mostly outputs of one task: share its name.
            let task = match tickets.last() {
                Some(previous) if *previous.task == *task => previous.task.clone(),
                _ => Arc::from(task),
            };
            tickets.push(Self { task, slot });
        }
        Ok(tickets)
    }
}

fn split(text: &str) -> Result<(&str, u32), TicketError> {
    let malformed = || TicketError::Malformed(text.chars().take(200).collect());
    let (task, slot) = text.rsplit_once(':').ok_or_else(malformed)?;
    let is_canonical = slot.bytes().all(|byte| byte.is_ascii_digit()) && (slot == "0" || !slot.starts_with('0'));
    if task.is_empty() || task.contains('\n') || !is_canonical {
        return Err(malformed());
    }
    Ok((task, slot.parse().map_err(|_| malformed())?))
}

impl fmt::Display for Ticket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.task, self.slot)
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        let (task, slot) = split(text)?;
        Ok(Self::new(task, slot))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_task_ends_at_the_last_colon() {
        let ticket: Ticket = "q:1/7.2:15".parse().unwrap();
        assert_eq!((&*ticket.task, ticket.slot), ("q:1/7.2", 15));
    }

    #[test]
    fn what_is_not_canonical_is_refused() {
        for text in ["", ":", "a", "a:", ":1", "a:+1", "a:01", "a:-1", "a:4294967296", "a:1 ", "a\nb:1"] {
            assert!(text.parse::<Ticket>().is_err(), "{text:?} was accepted");
        }
        assert_eq!(Ticket::parse_many(b""), Err(TicketError::Malformed(String::new())));
        assert_eq!(Ticket::parse_many(b"a:1\n\xff:2"), Err(TicketError::NotText));
        assert!(Ticket::parse_many(b"a:1\n").is_err());
    }

    proptest! {
        #[test]
        fn text_form_round_trips(tasks in prop::collection::vec(("[^\n]{1,30}", any::<u32>()), 1..20)) {
            let tickets: Vec<_> = tasks.into_iter().map(|(task, slot)| Ticket::new(task, slot)).collect();
            prop_assert_eq!(Ticket::parse_many(Ticket::join(&tickets).as_bytes()).unwrap(), tickets.clone());
            prop_assert_eq!(tickets[0].to_string().parse::<Ticket>().unwrap(), tickets[0].clone());
        }

        #[test]
        fn no_bytes_make_parsing_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(tickets) = Ticket::parse_many(&bytes) {
                prop_assert_eq!(Ticket::join(&tickets).into_bytes(), bytes);
            }
        }
    }
}
