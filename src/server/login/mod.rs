//! How sessions start, renew and end, independent of the transport.

mod authenticate;
mod client;
mod end;
mod error;
pub(crate) mod limits;
mod live_tickets;
pub(crate) mod password;
mod renew;
mod service;
mod start;
pub(crate) mod throttle;
pub(crate) mod tickets;

pub(crate) use client::Client;
pub(crate) use error::LogInError;
pub(crate) use live_tickets::LiveTickets;
pub(crate) use service::SessionService;
pub(crate) use start::{Authenticated, NewRecord, PASSWORD};
