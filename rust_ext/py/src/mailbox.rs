//! Delivers callbacks to an asyncio event loop, from any thread, in order and in batches.
//!
//! Posting neither blocks nor takes the GIL, so it may be done under a lock. One thread of its own takes
//! the GIL once for everything that has gathered.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use parking_lot::Mutex;
use pyo3::prelude::*;

/// Something to do on the event loop's thread.
type Letter = Box<dyn FnOnce(Python<'_>) -> PyResult<()> + Send>;
type Letters = Arc<Mutex<Vec<Letter>>>;

/// Between two tries to deliver.
const RETRY: Duration = Duration::from_millis(50);

/// The place where letters are posted. Clones share one thread, which ends with the last of them.
#[derive(Clone)]
pub(crate) struct Mailbox {
    letters: mpsc::Sender<Letter>,
}

impl Mailbox {
    /// Letters are opened on `event_loop`.
    pub(crate) fn new(event_loop: Py<PyAny>) -> std::io::Result<Self> {
        let (letters, posted) = mpsc::channel();
        let carry = move || carry(&event_loop, &posted);
        std::thread::Builder::new().name("daft-k8s-mail".to_owned()).spawn(carry)?;
        Ok(Self { letters })
    }

    pub(crate) fn post(&self, letter: impl FnOnce(Python<'_>) -> PyResult<()> + Send + 'static) {
        // Fails only after the interpreter has begun to finalise.
        let _ = self.letters.send(Box::new(letter));
    }
}

fn carry(event_loop: &Py<PyAny>, posted: &mpsc::Receiver<Letter>) {
    while let Ok(first) = posted.recv() {
        let letters: Letters = Arc::new(Mutex::new(std::iter::once(first).chain(posted.try_iter()).collect()));
        loop {
            // Not `attach`: the interpreter may be finalising, and then nobody wants the mail any more.
            match Python::try_attach(|py| deliver(py, event_loop, &letters)) {
                Some(Delivery::Done) => break,
                Some(Delivery::NotYet) => std::thread::sleep(RETRY),
                Some(Delivery::NeverAgain) | None => return,
            }
        }
    }
}

enum Delivery {
    Done,
    NotYet,
    NeverAgain,
}

/// Delivers letters. A failed delivery may be tried again: letters are opened once.
fn deliver(py: Python<'_>, event_loop: &Py<PyAny>, letters: &Letters) -> Delivery {
    let delivered = Bound::new(py, Bundle { letters: letters.clone() })
        .and_then(|bundle| event_loop.call_method1(py, pyo3::intern!(py, "call_soon_threadsafe"), (bundle,)));
    let Err(error) = delivered else { return Delivery::Done };
    let is_closed = event_loop.call_method0(py, pyo3::intern!(py, "is_closed"));
    if is_closed.and_then(|closed| closed.extract::<bool>(py)).unwrap_or(false) {
        // The session is over.
        return Delivery::NeverAgain;
    }
    error.write_unraisable(py, None);
    Delivery::NotYet
}

/// The letters that one call of the event loop opens.
#[pyclass(frozen)]
struct Bundle {
    letters: Letters,
}

#[pymethods]
impl Bundle {
    fn __call__(&self, py: Python<'_>) {
        let letters = std::mem::take(&mut *self.letters.lock());
        for letter in letters {
            if let Err(error) = letter(py) {
                error.write_unraisable(py, None);
            }
        }
    }
}
