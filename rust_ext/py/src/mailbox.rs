//! Delivers callbacks to an asyncio event loop, from any thread, in order and in batches.
//!
//! Posting neither blocks nor takes the GIL, so it may be done under a lock. One thread of its own takes
//! the GIL once for everything that has gathered.

use std::sync::mpsc;

use parking_lot::Mutex;
use pyo3::prelude::*;

/// Something to do on the event loop's thread.
type Letter = Box<dyn FnOnce(Python<'_>) -> PyResult<()> + Send>;

/// Where letters are posted. Clones share one thread, which ends with the last of them.
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
        // Not `attach`: the interpreter may be finalising, and then nobody wants the mail any more.
        let delivered = Python::try_attach(|py| {
            let letters: Vec<Letter> = std::iter::once(first).chain(posted.try_iter()).collect();
            let bundle = Bound::new(py, Bundle { letters: Mutex::new(letters) })?;
            event_loop.call_method1(py, pyo3::intern!(py, "call_soon_threadsafe"), (bundle,))?;
            PyResult::Ok(())
        });
        // An error means that the loop is closed: the session is over.
        if !matches!(delivered, Some(Ok(()))) {
            return;
        }
    }
}

/// What one call of the event loop opens.
#[pyclass(frozen)]
struct Bundle {
    letters: Mutex<Vec<Letter>>,
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
