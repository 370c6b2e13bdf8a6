//! Work that takes a while, off the runtime's own threads.

/// Runs `work` on a thread that may block. A panic in it goes on here.
pub(super) async fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being shut down, and this task with it.
            Err(_) => core::future::pending().await,
        },
    }
}
