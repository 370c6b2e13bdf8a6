//! Anomaly detection, without a service.

pub mod detector;
