//! Reasons for people: their quoted log lines, and the comparison of reasons.
//!
//! An allocator that reports the end of a process (`daft_k8s.wire.quoted_log`) puts the last lines of its log at the end of the
//! reason. What is added to a reason goes before them.

/// Begins the log lines at the end of a reason.
pub const LOG_MARK: &str = "; last log lines:\n";

/// The reason without the log lines that it quotes, and these lines with their mark; "" if it quotes none.
#[must_use]
pub fn split_log(reason: &str) -> (&str, &str) {
    reason.find(LOG_MARK).map_or((reason, ""), |at| reason.split_at(at))
}

/// A reason without its numbers and its log. Reasons that differ only in the worker's name, a process id, a port or a
/// time are then the same.
#[must_use]
pub fn without_numbers(reason: &str) -> String {
    let mut kept = String::with_capacity(reason.len());
    for character in split_log(reason).0.chars() {
        match character {
            '0'..='9' if kept.ends_with('0') => {}
            '0'..='9' => kept.push('0'),
            other => kept.push(other),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines_are_split_off_with_their_mark() {
        assert_eq!(split_log("it died; last log lines:\n  a\n  b"), ("it died", "; last log lines:\n  a\n  b"));
        assert_eq!(split_log("it died"), ("it died", ""));
    }

    #[test]
    fn reasons_that_differ_in_numbers_or_logs_are_the_same_without_them() {
        let reason = |number: u32| format!("worker-{number} (pid {}) died{LOG_MARK}  line {number}", 100 * number);
        assert_eq!(without_numbers(&reason(1)), without_numbers(&reason(20)));
        assert_ne!(without_numbers("worker-1 died"), without_numbers("worker-1 left"));
    }
}
