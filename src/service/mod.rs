//! Shared parts of the listening services: sockets, TLS, bounds on connections,
//! and allowed redirect targets. The login service and the edge service use it.

pub(crate) mod anomaly_log;
pub(crate) mod certificate;
pub(crate) mod connections;
pub(crate) mod listen;
pub(crate) mod panics;
pub(crate) mod permits;
pub(crate) mod return_target;
pub(crate) mod style;
#[cfg(feature = "otel")]
pub(crate) mod trace;
