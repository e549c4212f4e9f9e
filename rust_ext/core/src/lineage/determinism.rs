//! The determinism of a task, which decides how its lost outputs can be recomputed.

use std::str::FromStr;

use get_size2::GetSize;

/// The relation of the outputs of two runs of a task. A task has the worst of its operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, GetSize)]
pub enum Determinism {
    /// Each output has the same rows, in any order, whenever the task runs.
    Deterministic,
    /// All outputs together have the same rows. If there are several, the order of the rows decides which output a row is
    /// in: a worker cuts what a task gives into outputs of bounded size, in the order in which it comes.
    DeterministicWhole,
    /// The rows of an output may depend on the order of the rows that the task reads, on chance, or on the user's code.
    /// Outputs of two runs are mixed only if their fingerprints are equal.
    OrderDependent,
    /// The task has effects, or needs what ends with its query: it is never run again for its outputs.
    Unrepeatable,
}

/// A text that names no determinism.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no determinism of a task; expected deterministic, deterministic_whole, order_dependent or unrepeatable"
)]
pub struct UnknownDeterminism(String);

const NAMES: [(Determinism, &str); 4] = [
    (Determinism::Deterministic, "deterministic"),
    (Determinism::DeterministicWhole, "deterministic_whole"),
    (Determinism::OrderDependent, "order_dependent"),
    (Determinism::Unrepeatable, "unrepeatable"),
];

impl Determinism {
    /// True if fingerprints of the outputs serve to recompute them.
    #[must_use]
    pub const fn needs_fingerprints(self) -> bool {
        matches!(self, Self::OrderDependent)
    }

    /// The determinism of each single output of a task that gave so many.
    #[must_use]
    pub(crate) fn of_each(self, outputs: usize) -> Self {
        match self {
            Self::DeterministicWhole if outputs <= 1 => Self::Deterministic,
            Self::DeterministicWhole => Self::OrderDependent,
            other => other,
        }
    }
}

impl FromStr for Determinism {
    type Err = UnknownDeterminism;

    fn from_str(text: &str) -> Result<Self, UnknownDeterminism> {
        NAMES
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(determinism, _)| *determinism)
            .ok_or_else(|| UnknownDeterminism(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_a_task_may_put_into_any_of_its_outputs_are_deterministic_in_a_single_one_alone() {
        let whole = Determinism::DeterministicWhole;
        assert_eq!([0, 1, 2].map(|outputs| whole.of_each(outputs)), {
            [Determinism::Deterministic, Determinism::Deterministic, Determinism::OrderDependent]
        });
        assert_eq!(Determinism::Deterministic.of_each(2), Determinism::Deterministic);
        assert_eq!(Determinism::Unrepeatable.of_each(1), Determinism::Unrepeatable);
    }

    #[test]
    fn every_name_is_read_as_its_determinism_and_nothing_else_is_one() {
        for (determinism, name) in NAMES {
            assert_eq!(name.parse(), Ok(determinism));
        }
        assert!("".parse::<Determinism>().unwrap_err().to_string().contains("\"\" is no determinism"));
    }
}
