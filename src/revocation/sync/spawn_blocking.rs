//! Runs slow work on a blocking thread.

/// Runs `work` on a blocking thread. A panic in it continues here.
pub(super) async fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and this task with it.
            Err(_) => core::future::pending().await,
        },
    }
}
