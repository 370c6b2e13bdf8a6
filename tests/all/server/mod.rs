//! The running login service.

pub mod anomalies;
pub mod browser;
pub mod crash;
pub mod dpop;
pub mod feed_floods;
pub mod floods;
pub mod hop;
pub mod limits;
pub mod log_out;
pub mod login;
#[cfg(feature = "server")]
pub mod logs;
pub mod metrics;
pub mod openapi;
pub mod ops;
#[cfg(feature = "otel")]
pub mod otel;
pub mod resting;
pub mod serve;
pub mod sessions;
pub mod state_machine;
pub mod tabs;
pub mod ticket_routes;
pub mod tls;
pub mod waiting;
