//! The verdict on a request that a proxy asked about.

use crate::error::Reason;

/// The verdict, as metrics count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted,
    /// No session, where none is needed.
    Anonymous,
    NoToken,
    TwoTokens,
    CrossSite,
    /// The peer is not a trusted proxy.
    UntrustedProxy,
    /// The proxy's description is ambiguous or unreadable.
    UnclearRequest,
    /// The token has expired, its session may go on, and the issuer, which
    /// could renew it, does not answer.
    NotRenewed,
    Refused(Reason),
}

impl Verdict {
    /// The value of the label `verdict`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Anonymous => "anonymous",
            Self::NoToken => "no_token",
            Self::TwoTokens => "two_tokens",
            Self::CrossSite => "cross_site",
            Self::UntrustedProxy => "untrusted_proxy",
            Self::UnclearRequest => "unclear_request",
            Self::NotRenewed => "not_renewed",
            Self::Refused(reason) => reason.as_str(),
        }
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        let own = [
            Self::Accepted,
            Self::Anonymous,
            Self::NoToken,
            Self::TwoTokens,
            Self::CrossSite,
            Self::UntrustedProxy,
            Self::UnclearRequest,
            Self::NotRenewed,
        ];
        own.into_iter().chain(Reason::ALL.iter().copied().map(Self::Refused))
    }

    /// Returns whether the request is refused even where no session is needed:
    /// another site's page made it, its proxy is not trusted, or it is unclear.
    pub(super) const fn is_forbidden(self) -> bool {
        matches!(self, Self::CrossSite | Self::UntrustedProxy | Self::UnclearRequest)
    }

    /// Returns whether a log-in would help. If the issuer accepts what this
    /// edge refuses, sending the browser there would cause a loop.
    pub(super) const fn log_in(self) -> LogIn {
        match self {
            Self::NoToken
            | Self::Refused(
                Reason::Malformed
                | Reason::WrongType
                | Reason::BadSignature
                | Reason::SessionEnded
                | Reason::Expired
                | Reason::Revoked,
            ) => LogIn::AtOnce,
            // The key is an old one, or so new that this edge has not received
            // it yet. The user decides.
            Self::TwoTokens | Self::Refused(Reason::UnknownKey) => LogIn::Offered,
            _ => LogIn::Useless,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LogIn {
    AtOnce,
    Offered,
    Useless,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Verdict::all().map(Verdict::name).collect();
        assert_eq!(names.len(), 8 + Reason::ALL.len());
    }

    /// Where this edge and the issuer may disagree, the browser is never
    /// redirected automatically: the issuer would send it back.
    #[test]
    fn only_what_a_log_in_mends_leads_to_one() {
        for reason in [
            Reason::UnknownKey,
            Reason::WrongIssuer,
            Reason::WrongAudience,
            Reason::NotYetValid,
            Reason::RevocationsStale,
            Reason::ProofRequired,
        ] {
            assert!(Verdict::Refused(reason).log_in() != LogIn::AtOnce, "{reason}");
        }
        assert!(Verdict::NoToken.log_in() == LogIn::AtOnce);
    }
}
