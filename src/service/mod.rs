//! What any listening process needs: sockets, TLS, bounds on connections, and
//! where browsers may be sent. The login service and the edge service stand on it.

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
