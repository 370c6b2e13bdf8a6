//! The state that every route of the edge shares.

use super::issuer::IssuerClient;
use super::metrics::Metrics;
use crate::anomaly::Watch;
use crate::http::{Origin, SessionCookie, TrustedProxies, csrf};
use crate::policy::StalePolicy;
use crate::renew::RenewClient;
use crate::revocation::RevocationList;
use crate::revocation::sync::FeedHandle;
use crate::service::permits::Permits;
use crate::service::return_target::ReturnTargets;
use crate::time::{Clock as _, SystemClock, UnixTime};
use crate::verifier::Verifier;

/// The state that every route shares.
pub(super) struct Edge {
    pub(super) verifier: Verifier,
    pub(super) feed: FeedHandle,
    pub(super) revocations: RevocationList,
    pub(super) issuer: IssuerClient,
    pub(super) renewal: RenewClient,
    pub(super) trusted_proxies: TrustedProxies,
    /// Origins whose pages may make requests that change something.
    pub(super) origins: csrf::Origins,
    pub(super) base_path: String,
    pub(super) cookie: SessionCookie,
    pub(super) return_targets: ReturnTargets,
    /// Set if the issuer is on another host.
    pub(super) hop: Option<CrossHost>,
    pub(super) metrics: Metrics,
    pub(super) watch: Watch,
    pub(super) stale: StalePolicy,
    /// Permits for requests that wait.
    pub(super) waiting: Permits,
}

impl Edge {
    #[expect(clippy::unused_self, reason = "the outermost layer reads the clock, and here is where")]
    pub(super) fn now(&self) -> UnixTime {
        SystemClock.now()
    }
}

/// The settings of cross-host log-in.
pub(super) struct CrossHost {
    /// This host's own origin.
    pub(super) origin: Origin,
    /// The issuer as browsers reach it.
    pub(super) public_issuer: String,
    /// The audience of its sessions: this host alone.
    pub(super) audience: String,
}
