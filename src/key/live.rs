//! A key set that can be replaced while it is in use.

use core::fmt;
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};

use crate::key::KeySet;

/// A key set that can be replaced while it is in use. Clones share it.
#[derive(Clone)]
pub struct LiveKeys(Arc<KeysInUse>);

struct KeysInUse {
    current: ArcSwap<KeySet>,
    on_unknown: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl LiveKeys {
    /// Makes an empty set: every token has an unknown key until the first
    /// [`replace`](Self::replace). For an edge that gets its keys from the feed.
    #[must_use]
    pub fn awaiting() -> Self {
        KeySet::none().into()
    }

    /// Replaces the keys. Requests in progress finish with the old keys.
    pub fn replace(&self, keys: KeySet) {
        self.0.current.store(Arc::new(keys));
    }

    /// Returns the current keys.
    #[must_use]
    pub fn current(&self) -> Arc<KeySet> {
        self.0.current.load_full()
    }

    /// Sets a callback for tokens that name an unknown key.
    /// It is called on the request path, so it must not block, and must withstand a
    /// flood of forged tokens. Only the first callback is kept.
    pub fn on_unknown(&self, ask: impl Fn() + Send + Sync + 'static) {
        let _ = self.0.on_unknown.set(Box::new(ask));
    }

    pub(crate) fn load(&self) -> Guard<Arc<KeySet>> {
        self.0.current.load()
    }

    pub(crate) fn report_unknown(&self) {
        if let Some(ask) = self.0.on_unknown.get() {
            ask();
        }
    }
}

impl From<KeySet> for LiveKeys {
    fn from(keys: KeySet) -> Self {
        Self(Arc::new(KeysInUse { current: ArcSwap::from_pointee(keys), on_unknown: OnceLock::new() }))
    }
}

impl fmt::Debug for LiveKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LiveKeys").field(&self.current()).finish()
    }
}
