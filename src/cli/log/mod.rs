//! What is logged, how, and what a panic says.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Text for a terminal, JSON for everything else. `HALLPASS_LOG` chooses what,
/// like `debug` or `hallpass=debug`. Panics go there too.
pub(super) fn to_stderr() {
    let filter = EnvFilter::try_from_env("HALLPASS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_span_events(FmtSpan::NONE);
    let lines = if std::io::stderr().is_terminal() {
        lines.boxed()
    } else {
        // The request is the only span there is: once a line is enough.
        lines.json().with_span_list(false).boxed()
    };
    // Set once; a second call in one process (tests) keeps the first.
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        std::panic::set_hook(Box::new(panicked));
    }
}

/// Where, and what a programmer wrote about it. A message that was put together
/// may quote a value, which may be a secret: it is left out.
fn panicked(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(tracing::field::display);
    let message = panic.payload().downcast_ref::<&'static str>().copied();
    tracing::error!(location, message_text = message.unwrap_or("not shown"), "a bug: panicked");
}

#[cfg(test)]
mod tests;
