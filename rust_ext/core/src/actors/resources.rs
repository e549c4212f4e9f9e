//! Amounts of CPUs, GPUs and memory: the need of an actor, and the capacity of a worker.

use std::fmt;

use get_size2::GetSize;

/// Millionths of a CPU or of a GPU. Whole numbers, so that shares that are added and subtracted again leave nothing over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, GetSize)]
pub struct Share(u64);

impl Share {
    /// One CPU or GPU.
    pub const ONE: Self = Self(1_000_000);
    /// None.
    pub const ZERO: Self = Self(0);

    /// An amount that is not negative; rounded to millionths, but to none only if it is zero.
    #[must_use]
    pub fn of(amount: f64) -> Option<Self> {
        let millionths = amount * Self::ONE.as_f64();
        if !(0.0..9e15).contains(&millionths) {
            return None;
        }
        // In range, as was just checked.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let whole = millionths.round() as u64;
        Some(Self(if amount > 0.0 { whole.max(1) } else { 0 }))
    }

    /// The amount in millionths.
    #[must_use]
    pub const fn millionths(self) -> u64 {
        self.0
    }

    /// The number of whole ones.
    #[must_use]
    pub const fn whole(self) -> u64 {
        self.0 / Self::ONE.0
    }

    /// The part beyond the whole ones.
    #[must_use]
    pub const fn rest(self) -> Self {
        Self(self.0 % Self::ONE.0)
    }

    pub(super) const fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    pub(super) const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    pub(super) const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    #[allow(clippy::cast_precision_loss)]
    const fn as_f64(self) -> f64 {
        self.0 as f64
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_f64() / Self::ONE.as_f64())
    }
}

/// Amounts that cannot be asked for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidResources {
    /// More than one GPU, and not whole ones.
    #[error("gpus={0} is neither a share of one GPU nor a whole number of GPUs")]
    SplitGpus(f64),
    /// A negative or an endless amount.
    #[error("a request is negative or not a number: {cpus} CPUs, {gpus} GPUs, {memory_bytes} bytes")]
    OutOfRange {
        /// The CPUs that were asked for.
        cpus: f64,
        /// The GPUs.
        gpus: f64,
        /// The memory.
        memory_bytes: f64,
    },
}

/// The need of an actor, or the capacity of a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, GetSize)]
pub struct Resources {
    /// CPUs.
    pub cpus: Share,
    /// GPUs: a share of one device, or whole devices.
    pub gpus: Share,
    /// Memory.
    pub memory_bytes: u64,
}

impl Resources {
    /// The capacity of a worker.
    ///
    /// # Errors
    ///
    /// An amount is negative or not a number.
    pub fn of_worker(cpus: f64, gpus: f64, memory_bytes: u64) -> Result<Self, InvalidResources> {
        match (Share::of(cpus), Share::of(gpus)) {
            (Some(cpus), Some(gpus)) => Ok(Self { cpus, gpus, memory_bytes }),
            #[allow(clippy::cast_precision_loss)]
            _ => Err(InvalidResources::OutOfRange { cpus, gpus, memory_bytes: memory_bytes as f64 }),
        }
    }

    /// The need of an actor.
    ///
    /// # Errors
    ///
    /// An amount is negative, or GPUs are more than one and not whole ones.
    pub fn of_actor(cpus: f64, gpus: f64, memory_bytes: f64) -> Result<Self, InvalidResources> {
        if !(0.0..9e18).contains(&memory_bytes) {
            return Err(InvalidResources::OutOfRange { cpus, gpus, memory_bytes });
        }
        // In range, as was just checked.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let need = Self::of_worker(cpus, gpus, memory_bytes as u64)?;
        if need.gpus > Share::ONE && need.gpus.rest() > Share::ZERO {
            return Err(InvalidResources::SplitGpus(gpus));
        }
        Ok(need)
    }

    /// The share of each GPU that the worker may use: whole ones, then what is left.
    pub(super) fn devices(&self) -> Vec<Share> {
        let mut devices: Vec<Share> = (0..self.gpus.whole()).map(|_| Share::ONE).collect();
        devices.extend(Some(self.gpus.rest()).filter(|rest| *rest > Share::ZERO));
        devices
    }

    /// These amounts, so many times.
    #[must_use]
    pub const fn times(&self, count: u64) -> Self {
        let memory_bytes = self.memory_bytes.saturating_mul(count);
        Self { cpus: self.cpus.times(count), gpus: self.gpus.times(count), memory_bytes }
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} CPUs", self.cpus)?;
        if self.gpus > Share::ZERO {
            write!(f, ", {} GPUs", self.gpus)?;
        }
        if self.memory_bytes > 0 {
            write!(f, ", {} MiB", in_groups(self.memory_bytes.saturating_add(1 << 19) >> 20))?;
        }
        Ok(())
    }
}

/// A number with a comma after each group of three digits.
fn in_groups(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_that_are_added_and_subtracted_leave_nothing_over() {
        let third = Share::of(1.0 / 3.0).unwrap();
        assert!(third.times(3) <= Share::ONE);
        let tenth = Share::of(0.1).unwrap();
        assert_eq!(tenth.times(10), Share::ONE);
        assert_eq!(Share::ONE.minus(tenth.times(3)).plus(tenth.times(3)), Share::ONE);
    }

    #[test]
    fn the_least_share_is_some_and_what_is_no_amount_is_none() {
        assert!(Share::of(1e-9).unwrap() > Share::ZERO);
        assert_eq!(Share::of(0.0), Some(Share::ZERO));
        for amount in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Share::of(amount), None);
        }
    }

    #[test]
    fn a_request_that_makes_no_sense_is_told() {
        let problem = |cpus, gpus, memory| Resources::of_actor(cpus, gpus, memory).unwrap_err().to_string();
        assert_eq!(problem(1.0, 1.5, 0.0), "gpus=1.5 is neither a share of one GPU nor a whole number of GPUs");
        for (cpus, gpus, memory) in [(-1.0, 0.0, 0.0), (1.0, -0.5, 0.0), (1.0, 0.0, -1.0), (f64::NAN, 0.0, 0.0)] {
            assert!(problem(cpus, gpus, memory).contains("negative"));
        }
        assert!(Resources::of_worker(1.0, 1.5, 0).is_ok(), "a worker may have a share of its last device");
    }

    #[test]
    fn amounts_are_told_with_their_units() {
        let text = |cpus, gpus, memory| Resources::of_actor(cpus, gpus, memory).unwrap().to_string();
        assert_eq!(text(1.0, 0.0, 0.0), "1 CPUs");
        assert_eq!(text(0.5, 0.25, f64::from(1 << 30)), "0.5 CPUs, 0.25 GPUs, 1,024 MiB");
        assert_eq!(in_groups(1_234_567), "1,234,567");
        assert_eq!(in_groups(12), "12");
    }
}
