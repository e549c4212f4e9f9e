//! Addresses at which the driver and other workers reach a worker, when these differ.

use daft_k8s_core::Addresses;

use crate::{
    fixture::{Session, Settings, numbers, rows},
    proxy::Proxy,
};

/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:9";

#[test]
fn the_driver_goes_through_its_tunnel_and_workers_go_to_the_peer_address() {
    let session = Session::new(Settings { workers: 2, ..Settings::default() });
    let mut workers = Vec::new();
    let mut tunnels = Vec::new();
    for number in 0..2 {
        let (id, launch) = session.next_launch();
        assert_eq!(id.0, number);
        let worker = session.worker(id);
        let tunnel = Proxy::start(session.runtime.handle(), &worker.data());
        // No worker reads from worker-0, and the driver must not go there.
        let peer = if number == 0 { NOWHERE.into() } else { worker.data().into() };
        let addresses = Addresses { control: worker.control().into(), data: tunnel.address.as_str().into(), peer };
        session.driver.worker_started(id, launch, addresses);
        workers.push(worker);
        tunnels.push(tunnel);
    }
    session.until_ready(2);
    let uploaded = session.driver.put(numbers(0..3));
    let makers: Vec<_> = (0..2).map(|number| session.submit_to(number, u64::from(number), vec![])).collect();
    for worker in &workers {
        worker.finish(&worker.next_run().key, [numbers(0..10_000)]);
    }
    let made: Vec<_> = makers.iter().flat_map(|maker| maker.partitions()).collect();
    tunnels[1].hold();
    let reader = session.submit_to(0, 2, vec![made[0].clone(), made[1].clone(), uploaded]);
    let delivery = workers[0].next_run();
    assert_eq!(rows(&delivery.inputs[0].1), [10_000, 10_000, 3]);
    workers[0].finish(&delivery.key, []);
    assert!(reader.partitions().is_empty());
    tunnels[1].release();
    assert_eq!(rows(&session.fetch(&made).unwrap()), [10_000, 10_000]);
}
