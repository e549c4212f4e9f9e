//! The determinism of a task, which decides how its lost outputs can be recomputed.

use std::fmt;
use std::str::FromStr;

use get_size2::GetSize;

/// The relation of the outputs of two runs of a task. A task has the worst of its operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, GetSize)]
pub enum Determinism {
    /// Each output has the same rows, in any order, whenever the task runs.
    Deterministic,
    /// The rows of an output depend on the order of the rows that the task reads, or on chance: outputs of two runs must
    /// never be mixed.
    OrderDependent,
    /// The task has effects, or needs what ends with its query: it is never run again for its outputs.
    Unrepeatable,
}

/// A text that names no determinism.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no determinism of a task; expected deterministic, order_dependent or unrepeatable")]
pub struct UnknownDeterminism(String);

const NAMES: [(Determinism, &str); 3] = [
    (Determinism::Deterministic, "deterministic"),
    (Determinism::OrderDependent, "order_dependent"),
    (Determinism::Unrepeatable, "unrepeatable"),
];

impl fmt::Display for Determinism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(determinism, _)| determinism == self).map_or("", |(_, name)| name))
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
    fn every_determinism_reads_back_as_it_was_written_and_nothing_else_is_one() {
        for (determinism, name) in NAMES {
            assert_eq!((determinism.to_string().as_str(), name.parse()), (name, Ok(determinism)));
        }
        assert!("".parse::<Determinism>().unwrap_err().to_string().contains("\"\" is no determinism"));
    }
}
