//! Connections on which no member of the session has called yet: few for each peer, and none for long.

use std::{
    collections::{HashMap, VecDeque},
    fmt::{Debug, Formatter, Result},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::Notify;

/// The reason why a newcomer's connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum TurnedAway {
    #[error("it made no call with the session's token in time")]
    Silent,
    #[error("it opened many connections and made no call with the session's token")]
    TooMany,
    #[error("it sent a flood of control frames and made no call with the session's token")]
    Flood,
}

/// True once a call on a connection has shown the session's token. A clone is of the same connection.
#[derive(Clone, Default)]
pub struct Standing(Arc<Inner>);

#[derive(Default)]
struct Inner {
    is_member: AtomicBool,
    turned_away: Mutex<Option<TurnedAway>>,
    /// Told when either of these is set.
    changed: Notify,
}

impl Standing {
    /// A call has shown the token.
    pub(crate) fn is_a_member(&self) {
        if !self.0.is_member.swap(true, Ordering::Relaxed) {
            self.0.changed.notify_one();
        }
    }

    pub(super) fn is_member(&self) -> bool {
        self.0.is_member.load(Ordering::Relaxed)
    }

    /// Has the connection closed.
    pub(super) fn turn_away(&self, reason: TurnedAway) {
        *self.0.turned_away.lock() = Some(reason);
        self.0.changed.notify_one();
    }

    /// The reason why the connection is closed, if it is that of a newcomer.
    pub(super) fn reason(&self) -> Option<TurnedAway> {
        *self.0.turned_away.lock()
    }
}

impl Debug for Standing {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(if self.is_member() { "Standing(member)" } else { "Standing(newcomer)" })
    }
}

/// The newcomers of all ports of a process. A clone shares them.
#[derive(Clone, Debug)]
pub(super) struct Newcomers {
    per_peer: usize,
    by_peer: Arc<Mutex<HashMap<IpAddr, VecDeque<Standing>>>>,
}

impl Newcomers {
    /// At most so many at an address; the oldest one makes room for another.
    pub(super) fn new(per_peer: usize) -> Self {
        Self { per_peer: per_peer.max(1), by_peer: Arc::default() }
    }

    /// Takes in a connection of this peer.
    pub(super) fn add(&self, peer: IpAddr) -> Newcomer {
        let standing = Standing::default();
        let mut by_peer = self.by_peer.lock();
        let same = by_peer.entry(peer).or_default();
        same.push_back(standing.clone());
        if same.len() > self.per_peer
            && let Some(oldest) = same.pop_front()
        {
            oldest.turn_away(TurnedAway::TooMany);
        }
        drop(by_peer);
        Newcomer { standing, peer, all: self.clone() }
    }

    fn remove(&self, peer: IpAddr, standing: &Standing) {
        let mut by_peer = self.by_peer.lock();
        if let Some(same) = by_peer.get_mut(&peer) {
            same.retain(|other| !Arc::ptr_eq(&other.0, &standing.0));
            if same.is_empty() {
                by_peer.remove(&peer);
            }
        }
    }
}

/// A connection that is counted as a newcomer's, until it is a member's or over.
pub(super) struct Newcomer {
    standing: Standing,
    peer: IpAddr,
    all: Newcomers,
}

impl Newcomer {
    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Ends if the connection is to be closed; never, once a member has called on it.
    pub(super) async fn turned_away(&self, patience: Duration) -> TurnedAway {
        let patience = tokio::time::sleep(patience);
        tokio::select! {
            () = self.standing.0.changed.notified() => {}
            () = patience => if !self.standing.is_member() { return TurnedAway::Silent },
        }
        if let Some(reason) = self.standing.reason() {
            return reason;
        }
        self.all.remove(self.peer, &self.standing);
        std::future::pending().await
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        self.all.remove(self.peer, &self.standing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const OTHER: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);
    const PATIENCE: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn the_oldest_newcomer_of_a_peer_makes_room_and_members_stay() {
        let newcomers = Newcomers::new(2);
        let [member, oldest, other] = [newcomers.add(PEER), newcomers.add(PEER), newcomers.add(OTHER)];
        member.standing().is_a_member();
        assert!(tokio::time::timeout(PATIENCE * 2, member.turned_away(PATIENCE)).await.is_err());
        let [_second, _third] = [newcomers.add(PEER), newcomers.add(PEER)];
        assert_eq!(oldest.turned_away(PATIENCE).await, TurnedAway::TooMany);
        assert_eq!(other.turned_away(PATIENCE).await, TurnedAway::Silent);
    }

    #[tokio::test]
    async fn a_newcomer_that_is_gone_takes_no_place() {
        let newcomers = Newcomers::new(1);
        drop(newcomers.add(PEER));
        let second = newcomers.add(PEER);
        assert_eq!(second.turned_away(PATIENCE).await, TurnedAway::Silent);
        drop(second);
        assert!(newcomers.by_peer.lock().is_empty());
    }
}
