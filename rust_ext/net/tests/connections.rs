//! Connections between members, and the refusal of all others. Not covered: certificates that have expired.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{io, time::Duration};

use daft_k8s_net::tls::{
    ClientTls, Identity, Issued, Pem, Role, ServerTls, TlsProblem, Transport, accept, connect, issue,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

fn session(id: &str) -> Issued {
    issue(id).unwrap()
}

fn client(pem: &Pem) -> ClientTls {
    Identity::from_pem(pem).unwrap().client().unwrap()
}

fn server(pem: &Pem, from: &[Role]) -> ServerTls {
    Identity::from_pem(pem).unwrap().server(from).unwrap()
}

/// Accepts one connection and echoes what comes, or tells why not.
async fn echo(tls: Option<ServerTls>) -> (String, JoinHandle<Result<(), TlsProblem>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = accept(stream, tls.as_ref()).await?;
        let (mut from, mut to) = tokio::io::split(stream);
        let _ = tokio::io::copy(&mut from, &mut to).await;
        let _ = to.shutdown().await;
        Ok(())
    });
    (address, serving)
}

/// Sends so many bytes, and returns the echo.
async fn send(mut stream: Transport, count: usize) -> io::Result<Vec<u8>> {
    let bytes: Vec<u8> = (0..count).map(|at| (at * 31 % 251) as u8).collect();
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    let mut back = vec![0; count];
    stream.read_exact(&mut back).await?;
    assert_eq!(back, bytes);
    Ok(back)
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), work).await.expect("took too long")
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_session_reach_its_workers_at_whatever_address() {
    let issued = session("s");
    for member in [&issued.driver, &issued.worker] {
        let (address, serving) = echo(Some(server(&issued.worker, &[Role::Driver, Role::Worker]))).await;
        let address = address.replace("127.0.0.1", "localhost");
        let stream = soon(connect(&address, Some(&client(member)))).await.unwrap();
        assert_eq!(soon(send(stream, 100_000)).await.unwrap().len(), 100_000);
        soon(serving).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_another_session_is_not_believed() {
    let (address, serving) = echo(Some(server(&session("other").worker, &[Role::Driver]))).await;
    let error = soon(connect(&address, Some(&client(&session("s").driver)))).await.err().unwrap();
    assert!(error.to_string().starts_with("it presented a certificate of another session"), "{error}");
    assert!(TlsProblem::find(&error).unwrap().is_final());
    assert!(matches!(soon(serving).await.unwrap(), Err(TlsProblem::RefusedUs(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_cannot_pose_as_a_worker() {
    let issued = session("s");
    let (address, _serving) = echo(Some(server(&issued.driver, &[Role::Driver]))).await;
    let error = soon(connect(&address, Some(&client(&issued.driver)))).await.err().unwrap();
    assert!(matches!(TlsProblem::find(&error), Some(TlsProblem::Stranger(_))), "{error}");
}

/// Connects to a server that takes only the driver; what both sides say.
async fn refused(worker: &Pem, caller: &Pem) -> (TlsProblem, io::Error) {
    let (address, serving) = echo(Some(server(worker, &[Role::Driver]))).await;
    let mixed = Pem { authority: worker.authority.clone(), ..caller.clone() };
    // The caller learns of it with the first answer, though it has sent much by then.
    let error = match soon(connect(&address, Some(&client(&mixed)))).await {
        Ok(stream) => soon(send(stream, 100_000)).await.unwrap_err(),
        Err(error) => error,
    };
    (soon(serving).await.unwrap().unwrap_err(), error)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_of_another_session_is_refused_and_told() {
    let (problem, error) = refused(&session("s").worker, &session("other").driver).await;
    assert!(matches!(problem, TlsProblem::Stranger(_)), "{problem:?}");
    assert!(matches!(TlsProblem::find(&error), Some(TlsProblem::RefusedUs(_))), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_refused_where_only_the_driver_may_call() {
    let issued = session("s");
    let (problem, error) = refused(&issued.worker, &issued.worker).await;
    assert_eq!(problem, TlsProblem::Stranger("it has another role".to_owned()));
    assert!(matches!(TlsProblem::find(&error), Some(TlsProblem::RefusedUs(_))), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_speak_tls_is_noticed_at_the_first_bytes() {
    let (address, serving) = echo(Some(server(&session("s").worker, &[Role::Driver]))).await;
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    assert_eq!(soon(serving).await.unwrap(), Err(TlsProblem::NotTls));
    let (address, _serving) = echo(None).await;
    let error = soon(connect(&address, Some(&client(&session("s").driver)))).await.err().unwrap();
    assert_eq!(TlsProblem::find(&error), Some(TlsProblem::NotTls), "an echo of our own greeting is no answer");
}

#[test]
fn a_key_of_another_certificate_is_refused_and_keys_are_never_shown() {
    let (one, other) = (session("s").worker, session("s").worker);
    assert!(!format!("{one:?}").contains("KEY"));
    let mixed = Pem { key: other.key, ..one };
    let error = Identity::from_pem(&mixed).unwrap().client().err().unwrap();
    assert!(error.to_string().starts_with("the session's certificates are malformed"), "{error}");
}

#[test]
fn files_are_read_and_a_missing_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let pem = session("s").worker;
    std::fs::write(folder.path().join("ca.crt"), &pem.authority).unwrap();
    std::fs::write(folder.path().join("tls.crt"), &pem.certificate).unwrap();
    assert!(Pem::read(folder.path()).unwrap_err().to_string().contains("tls.key"));
    std::fs::write(folder.path().join("tls.key"), &pem.key).unwrap();
    assert!(Identity::from_pem(&Pem::read(folder.path()).unwrap()).is_ok());
}

/// Collects what is sent to it; in every other connection as a worker of another session.
async fn thief(thefts: usize) -> (String, JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let other = server(&session("other").worker, &[Role::Driver]);
    let stealing = tokio::spawn(async move {
        let mut stolen = Vec::new();
        for number in 0..thefts {
            let (stream, _) = listener.accept().await.unwrap();
            let tls = (number % 2 == 0).then_some(&other);
            let Ok(mut stream) = accept(stream, tls).await else { continue };
            let mut bytes = vec![0; 64 << 10];
            let read = stream.read(&mut bytes).await.unwrap_or(0);
            bytes.truncate(read);
            stolen.push(bytes);
        }
        stolen
    });
    (address, stealing)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_a_workers_address_a_thousand_times_learns_nothing() {
    const THEFTS: usize = 1000;
    let (address, stealing) = thief(THEFTS).await;
    let tls = client(&session("s").driver);
    for _ in 0..THEFTS {
        let connected = soon(connect(&address, Some(&tls))).await;
        assert!(connected.is_err(), "a caller that is connected sends its token");
    }
    let stolen = soon(stealing).await.unwrap();
    assert_eq!(stolen.len(), THEFTS / 2);
    for bytes in stolen {
        assert_eq!(bytes[..3], [22, 3, 1], "a greeting of TLS, and no more");
        assert_eq!(usize::from(u16::from_be_bytes([bytes[3], bytes[4]])) + 5, bytes.len());
    }
}
