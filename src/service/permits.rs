//! Permits with limits in all and for each network (IPv6 by /64, an IPv4-mapped
//! IPv6 address as IPv4).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::http::network_of;

/// Counts permits. Clones share the count.
#[derive(Clone, Debug)]
pub(crate) struct Permits(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    most: u32,
    most_of_network: u32,
    taken: Mutex<Taken>,
}

/// Never has more networks than permits.
#[derive(Debug, Default)]
struct Taken {
    all: u32,
    by_network: HashMap<IpAddr, u32>,
}

/// Why no permit was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    /// The limit in all is reached.
    #[error("too many at once")]
    All,
    /// This network's limit is reached.
    #[error("too many at once from this address")]
    Address,
}

impl Permits {
    pub(crate) fn new(most: u32, most_of_network: u32) -> Self {
        Self(Arc::new(Counts { most, most_of_network, taken: Mutex::default() }))
    }

    /// Takes a permit, until it is dropped. Without an address it counts for no
    /// network.
    pub(crate) fn enter(&self, address: Option<IpAddr>) -> Result<Permit, Full> {
        let network = address.map(network_of);
        let mut taken = self.0.taken();
        if taken.all >= self.0.most {
            return Err(Full::All);
        }
        if let Some(network) = network {
            let of_network = taken.by_network.get(&network).copied().unwrap_or(0);
            if of_network >= self.0.most_of_network {
                return Err(Full::Address);
            }
            taken.by_network.insert(network, of_network + 1);
        }
        taken.all += 1;
        drop(taken);
        Ok(Permit { shared: Arc::clone(&self.0), network })
    }

    pub(crate) fn most(&self) -> u32 {
        self.0.most
    }

    /// Returns the permits taken and the number of networks that took them.
    #[cfg(test)]
    pub(crate) fn stats(&self) -> (u32, usize) {
        let taken = self.0.taken();
        (taken.all, taken.by_network.len())
    }

    /// Returns how many networks the table has room for.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.0.taken().by_network.capacity()
    }
}

impl Counts {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        // No code panics while it holds the lock.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One permit.
#[derive(Debug)]
pub(crate) struct Permit {
    shared: Arc<Counts>,
    network: Option<IpAddr>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self.shared.taken();
        taken.all -= 1;
        if let Some(network) = self.network
            && let Some(count) = taken.by_network.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                taken.by_network.remove(&network);
                // Shrink the table after a flood.
                if taken.by_network.capacity() > 64 + 4 * taken.by_network.len() {
                    taken.by_network.shrink_to_fit();
                }
            }
        }
    }
}
