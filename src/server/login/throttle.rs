//! Networks that are refused log-in for a while.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;

use crate::network::network_of;
use crate::time::UnixTime;

/// Most networks that are refused at once. The one refused longest makes room.
const MOST: usize = 10_000;

/// The refused networks and until when. Clones share them.
#[derive(Clone)]
pub(crate) struct Throttle(Arc<Mutex<LruCache<IpAddr, (UnixTime, UnixTime)>>>);

impl Default for Throttle {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LruCache::unbounded())))
    }
}

impl Throttle {
    /// Refuses a network from now on.
    pub(crate) fn refuse(&self, address: IpAddr, length: Duration, now: UnixTime) {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= MOST {
            refused.pop_lru();
        }
        refused.put(network_of(address), (now, now.saturating_add(length)));
    }

    /// Returns how much longer this address's network is refused, if it is.
    pub(crate) fn refused(&self, address: IpAddr, now: UnixTime) -> Option<Duration> {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let network = network_of(address);
        // `peek` does not refresh the entry: otherwise a network that keeps
        // trying would never make room.
        let (from, until) = *refused.peek(&network)?;
        // If the clock was set back, the refusal would last too long.
        if now < until && from <= now {
            return Some(until.since(now));
        }
        refused.pop(&network);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_refused_for_a_while_and_others_are_not() {
        let (throttle, at) = (Throttle::default(), UnixTime::saturating_from_secs(1000));
        let (one, other) = ("2001:db8::1".parse().unwrap(), "2001:db8:0:1::1".parse().unwrap());
        throttle.refuse(one, Duration::from_mins(1), at);
        let later = |seconds| at.saturating_add(Duration::from_secs(seconds));
        assert_eq!(throttle.refused("2001:db8::2".parse().unwrap(), later(1)), Some(Duration::from_secs(59)));
        assert_eq!(throttle.refused(other, later(1)), None);
        assert_eq!(throttle.refused(one, later(60)), None);
        assert_eq!(throttle.refused(one, later(1)), None, "what is over is forgotten");
    }

    #[test]
    fn the_table_is_bounded() {
        let (throttle, at) = (Throttle::default(), UnixTime::EPOCH);
        for n in 0..20_000_u32 {
            throttle.refuse(IpAddr::from(n.to_be_bytes()), Duration::from_mins(1), at);
        }
        assert_eq!(throttle.0.lock().unwrap().len(), MOST);
    }
}
