//! A TCP proxy between driver and worker, to break and to hold connections.

use std::{io, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    runtime::Handle,
    sync::watch,
    task::AbortHandle,
};

pub struct Proxy {
    pub address: String,
    target: Arc<Mutex<String>>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
    open: watch::Sender<bool>,
    delay: Arc<Mutex<Duration>>,
    bytes_per_second: Arc<Mutex<Option<u32>>>,
}

/// Bytes in one step of a slow connection.
const STEP_BYTES: u32 = 4096;

impl Proxy {
    pub fn start(runtime: &Handle, target: &str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let target = Arc::new(Mutex::new(target.to_owned()));
        let connections = Arc::new(Mutex::new(Vec::new()));
        let open = watch::Sender::new(true);
        let delay = Arc::new(Mutex::new(Duration::ZERO));
        let bytes_per_second = Arc::new(Mutex::new(None));
        let (to, opened, kept, late) = (target.clone(), open.clone(), connections.clone(), delay.clone());
        let rate = bytes_per_second.clone();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((mut near, _)) = listener.accept().await {
                let (to, mut opened, delay) = (to.clone(), opened.subscribe(), *late.lock());
                let rate = rate.clone();
                let carried = tokio::spawn(async move {
                    let _ = opened.wait_for(|open| *open).await;
                    tokio::time::sleep(delay).await;
                    let target = to.lock().clone();
                    if let Ok(mut far) = TcpStream::connect(target).await {
                        let ((mut near_read, mut near_write), (far_read, mut far_write)) = (near.split(), far.split());
                        let _ = tokio::join!(
                            tokio::io::copy(&mut near_read, &mut far_write),
                            pass_on(far_read, &mut near_write, &rate)
                        );
                    }
                });
                kept.lock().push(carried.abort_handle());
            }
        });
        Self { address, target, connections, open, delay, bytes_per_second }
    }

    /// Rate at which bytes from the target are passed on.
    pub fn slow_down(&self, bytes_per_second: u32) {
        *self.bytes_per_second.lock() = Some(bytes_per_second);
    }

    /// Breaks all connections.
    pub fn cut(&self) {
        self.connections.lock().drain(..).for_each(|connection| connection.abort());
    }

    /// New connections are accepted, and carry nothing until `release`.
    pub fn hold(&self) {
        self.open.send_replace(false);
    }

    /// The number of connections since the last `cut`.
    pub fn connections(&self) -> usize {
        self.connections.lock().len()
    }

    /// Each new connection carries nothing for so long.
    pub fn delay(&self, delay: Duration) {
        *self.delay.lock() = delay;
    }

    pub fn release(&self) {
        self.open.send_replace(true);
    }

    /// Breaks all connections; new ones lead elsewhere.
    pub fn lead_to(&self, target: &str) {
        *self.target.lock() = target.to_owned();
        self.cut();
    }
}

async fn pass_on(mut from: ReadHalf<'_>, to: &mut WriteHalf<'_>, rate: &Mutex<Option<u32>>) -> io::Result<()> {
    let mut bytes = [0; STEP_BYTES as usize];
    loop {
        let count = from.read(&mut bytes).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        let rate = *rate.lock();
        if let Some(rate) = rate {
            tokio::time::sleep(Duration::from_secs(count as u64) / rate).await;
        }
        to.write_all(&bytes[..count]).await?;
    }
}
