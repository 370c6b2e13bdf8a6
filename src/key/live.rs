//! A key set that is replaced while edges read it.

use core::fmt;
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};

use crate::key::KeySet;

/// A key set that can be replaced while edges read it. Clones share it.
#[derive(Clone)]
pub struct LiveKeys(Arc<KeysInUse>);

struct KeysInUse {
    current: ArcSwap<KeySet>,
    on_unknown: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl LiveKeys {
    /// No keys yet: every token is of an unknown key until the first
    /// [`replace`](Self::replace). For an edge that gets its keys from the feed.
    #[must_use]
    pub fn awaiting() -> Self {
        KeySet::none().into()
    }

    /// Replaces the keys; requests that are being served finish with the old.
    pub fn replace(&self, keys: KeySet) {
        self.0.current.store(Arc::new(keys));
    }

    /// The keys at this moment.
    #[must_use]
    pub fn current(&self) -> Arc<KeySet> {
        self.0.current.load_full()
    }

    /// Has `ask` called for every token that names a key which is not there.
    /// It is called on the request path, so it must neither block nor do
    /// anything that a flood of forged tokens should not do. The first one
    /// set stays.
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
