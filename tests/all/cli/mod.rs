//! The command line.

pub mod commands;
#[cfg(unix)]
pub mod directories;
