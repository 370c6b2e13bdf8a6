//! Lifetimes and admission.

pub mod lifetimes;
