//! The edges that report their state: a bounded table. Edges that are silent
//! for long are forgotten. Only edges that showed the edge credential are in
//! it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::revocation::Position;
use crate::revocation::sync::EdgeReport;
use crate::time::UnixTime;

/// Most edges in the table.
pub(crate) const MAX_EDGES: usize = 256;
/// An edge whose last report is at most this old counts as connected: three
/// reports.
pub(crate) const CONNECTED: Duration = Duration::from_secs(30);
/// How long a silent edge is still shown, with its age, so that an operator
/// notices that it is gone.
pub(crate) const FORGOTTEN: Duration = Duration::from_hours(1);

/// An edge, as it last reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) name: Box<str>,
    pub(crate) address: IpAddr,
    pub(crate) reported_at: UnixTime,
    /// When the feed that it last applied was signed.
    pub(crate) as_of: Option<UnixTime>,
    pub(crate) position: Option<Position>,
}

/// The table of edges. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edges(Arc<Mutex<BTreeMap<Box<str>, Edge>>>);

impl Edges {
    /// Takes a report; returns false if there are too many edges.
    pub(crate) fn report(&self, report: &EdgeReport, address: IpAddr, now: UnixTime) -> bool {
        let mut edges = self.current(now);
        let name = report.edge.as_str();
        if edges.len() >= MAX_EDGES && !edges.contains_key(name) {
            // The edge that is silent longest makes room, unless it still
            // counts as connected.
            let silent = edges.values().min_by_key(|edge| edge.reported_at);
            match silent.filter(|edge| now.since(edge.reported_at) > CONNECTED).map(|edge| edge.name.clone())
            {
                Some(name) => edges.remove(&name),
                None => return false,
            };
        }
        let edge = Edge {
            name: name.into(),
            address,
            reported_at: now,
            as_of: report.as_of(),
            position: report.position(),
        };
        edges.insert(name.into(), edge);
        true
    }

    /// Returns every edge, by name.
    pub(crate) fn list(&self, now: UnixTime) -> Vec<Edge> {
        self.current(now).values().cloned().collect()
    }

    fn current(&self, now: UnixTime) -> MutexGuard<'_, BTreeMap<Box<str>, Edge>> {
        let mut edges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        edges.retain(|_, edge| now.since(edge.reported_at) <= FORGOTTEN);
        edges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::sync::EdgeName;

    fn report(n: usize) -> EdgeReport {
        let edge = EdgeName::new(format!("edge-{n}")).unwrap();
        EdgeReport { edge, epoch: Some(1), sequence: Some(n as u64), as_of: Some(99), anomalies: Vec::new() }
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn the_table_is_bounded_and_the_silent_are_forgotten() {
        let (edges, start) = (Edges::default(), UnixTime::from_secs(1000).unwrap());
        for n in 0..MAX_EDGES {
            assert!(edges.report(&report(n), HERE, start));
        }
        assert!(edges.report(&report(0), HERE, start), "known already");
        assert!(!edges.report(&report(MAX_EDGES), HERE, start.saturating_add(CONNECTED)), "full");
        // One second later the others are silent, and one of them makes room.
        let later = start.saturating_add(CONNECTED + Duration::from_secs(1));
        assert!(edges.report(&report(MAX_EDGES), HERE, later));
        assert_eq!(edges.list(later).len(), MAX_EDGES);
        assert_eq!(edges.list(start.saturating_add(FORGOTTEN)).len(), MAX_EDGES);
        assert_eq!(edges.list(start.saturating_add(FORGOTTEN + Duration::from_secs(1))).len(), 1);
    }

    #[test]
    fn a_name_is_fit_for_a_label() {
        for name in ["", "a b", "a\n", "a\"", "ä", &"a".repeat(65)] {
            assert!(EdgeName::new(name).is_err(), "{name:?}");
        }
        assert!(EdgeName::new("shop-1.eu_west").is_ok());
    }
}
