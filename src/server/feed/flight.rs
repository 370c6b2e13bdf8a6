//! Work that is done once for all callers who want its result at the same time.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;
use tracing::Instrument as _;

/// Runs a piece of work at most once at a time.
pub(super) struct Flight<T>(Mutex<Option<watch::Receiver<Option<T>>>>);

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    /// Returns the result of the current run, or of one that starts now. The
    /// run is a task of its own and goes on when its callers are cancelled.
    /// Returns `None` if it panicked or the runtime stops; the next call starts
    /// another.
    pub(super) async fn join<F>(&self, work: impl FnOnce() -> F) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut result = self.current(work);
        result.wait_for(Option::is_some).await.ok()?.clone()
    }

    fn current<F>(&self, work: impl FnOnce() -> F) -> watch::Receiver<Option<T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // An error means that the task is gone.
        let runs =
            |result: &&watch::Receiver<Option<T>>| result.borrow().is_none() && result.has_changed().is_ok();
        if let Some(result) = current.as_ref().filter(runs) {
            return result.clone();
        }
        let (done, result) = watch::channel(None);
        let work = work();
        tokio::spawn(async move { done.send_replace(Some(work.await)) }.in_current_span());
        *current = Some(result.clone());
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::Notify;

    #[tokio::test]
    async fn all_who_wait_share_one_run_and_none_of_them_can_stop_it() {
        let (flight, runs) = (Arc::new(Flight::default()), Arc::new(AtomicU32::new(0)));
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let join = || {
            let (flight, runs) = (Arc::clone(&flight), Arc::clone(&runs));
            let (begun, go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
            tokio::spawn(async move {
                let work = || async move {
                    begun.notify_one();
                    go_on.notified().await;
                    runs.fetch_add(1, Ordering::SeqCst)
                };
                flight.join(work).await
            })
        };
        let first = join();
        begun.notified().await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let (second, third) = (join(), join());
        tokio::task::yield_now().await;
        go_on.notify_one();
        assert_eq!((second.await.unwrap(), third.await.unwrap()), (Some(0), Some(0)));
        let fourth = join();
        go_on.notify_one();
        assert_eq!(fourth.await.unwrap(), Some(1));
    }

    #[tokio::test]
    async fn a_run_that_panics_is_followed_by_another() {
        let flight = Flight::<u8>::default();
        assert_eq!(flight.join(|| async { panic!("on purpose") }).await, None);
        assert_eq!(flight.join(|| async { 1 }).await, Some(1));
    }
}
