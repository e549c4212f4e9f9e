//! The certificates of a session.

use std::collections::BTreeMap;

use daft_k8s_net::tls::{ClientTls, Identity, Issued, Pem, TlsError};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyBytes};

/// Made for one session; the key that signed them is forgotten.
#[pyclass(module = "daft_k8s._native", frozen)]
pub(crate) struct SessionCertificates {
    issued: Issued,
}

#[pymethods]
impl SessionCertificates {
    #[new]
    fn new(session_id: &str) -> PyResult<Self> {
        Ok(Self { issued: daft_k8s_net::tls::issue(session_id).map_err(to_python)? })
    }

    #[getter]
    fn worker_files<'py>(&self, py: Python<'py>) -> BTreeMap<&'static str, Bound<'py, PyBytes>> {
        files(py, &self.issued.worker)
    }

    #[getter]
    fn driver_files<'py>(&self, py: Python<'py>) -> BTreeMap<&'static str, Bound<'py, PyBytes>> {
        files(py, &self.issued.driver)
    }
}

impl SessionCertificates {
    pub(crate) fn client(&self) -> PyResult<ClientTls> {
        Identity::from_pem(&self.issued.driver).and_then(|identity| identity.client()).map_err(to_python)
    }
}

fn files<'py>(py: Python<'py>, pem: &Pem) -> BTreeMap<&'static str, Bound<'py, PyBytes>> {
    let texts = [&pem.authority, &pem.certificate, &pem.key];
    Pem::FILES.into_iter().zip(texts.map(|text| PyBytes::new(py, text.as_bytes()))).collect()
}

pub(crate) fn to_python(error: TlsError) -> PyErr {
    PyValueError::new_err(error.to_string())
}
