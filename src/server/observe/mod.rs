//! The issuer's own reports: events, recent activity, metrics.

pub(crate) mod activity;
pub(crate) mod events;
pub(crate) mod metrics;
