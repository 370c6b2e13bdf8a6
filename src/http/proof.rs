//! Proofs of possession over HTTP (RFC 9449): the URI of a request, and the answer to
//! a refused proof.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, OriginalUri};
use axum::response::Response;
use http::header::{HOST, WWW_AUTHENTICATE};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};

use crate::error::{ProofError, Rejection};
use crate::http::client_address::TrustedProxies;
use crate::http::credential::Credential;
use crate::http::host;
use crate::http::origin::Origin;
use crate::proof::{ProofRequest, ProofVerifier, wants_nonce};
use crate::session::Session;
use crate::time::UnixTime;
use crate::verifier::Verifier;

static DPOP: HeaderName = HeaderName::from_static("dpop");
static DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The algorithms of proofs, as a challenge names them (RFC 9449 §7.1).
const ALGORITHMS: &str = "ES256 EdDSA Ed25519";

/// How a service is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Checks the proofs of HTTP requests. Clones share the nonces.
#[derive(Clone, Debug)]
pub struct RequestProofs {
    proofs: ProofVerifier,
    seen_at: SeenAt,
}

/// The public origin of this service: the start of a proof's `htu`.
#[derive(Clone, Debug)]
enum SeenAt {
    /// A fixed origin.
    Origin(Origin),
    /// The request's host, or the one a trusted proxy reports, if it is loopback. No
    /// other host is accepted.
    Loopback { scheme: &'static str, proxies: TrustedProxies },
}

/// The parts of a request that a proof covers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestHead<'a> {
    pub(crate) method: &'a Method,
    /// The URI as sent; nested routers shorten it.
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    /// The peer's address, if it is known.
    pub(crate) peer: Option<IpAddr>,
}

impl RequestProofs {
    /// For a service that clients see at `origin`, like `https://shop.example`. A
    /// proof for another origin is refused, whatever host the request names.
    ///
    #[must_use]
    pub const fn at_origin(proofs: ProofVerifier, origin: Origin) -> Self {
        Self { proofs, seen_at: SeenAt::Origin(origin) }
    }

    /// For development: a service at any loopback host and port, over `scheme`, or as
    /// the trusted `proxies` report (`X-Forwarded-Proto` and `X-Forwarded-Host`).
    ///
    /// The sender of a request chooses its host. A service that trusted it would
    /// accept a relayed proof that was made for another service (RFC 9449 §4.3: `htu`
    /// must match the server's own URI). So only loopback hosts are accepted;
    /// [`RequestProofs::at_origin`] sets another.
    #[must_use]
    pub const fn on_loopback(proofs: ProofVerifier, scheme: Scheme, proxies: TrustedProxies) -> Self {
        Self { proofs, seen_at: SeenAt::Loopback { scheme: scheme.as_str(), proxies } }
    }

    /// Returns the verifier of proofs.
    #[must_use]
    pub const fn proofs(&self) -> &ProofVerifier {
        &self.proofs
    }

    /// Calls `check` with the parts of a request that its proof covers.
    pub(crate) fn with<T>(&self, head: RequestHead<'_>, check: impl FnOnce(&ProofRequest<'_>) -> T) -> T {
        // A second header is refused later; more are not read.
        let dpop: Vec<&[u8]> =
            head.headers.get_all(&DPOP).iter().take(2).map(HeaderValue::as_bytes).collect();
        let uri = format!("{}{}", self.origin(head), head.uri.path());
        check(&ProofRequest { dpop: &dpop, method: head.method.as_str(), uri: &uri })
    }

    fn origin(&self, head: RequestHead<'_>) -> String {
        let (mut scheme, proxies) = match &self.seen_at {
            SeenAt::Origin(origin) => return origin.to_string(),
            SeenAt::Loopback { scheme, proxies } => (*scheme, proxies),
        };
        let text = |name: &HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
        let mut name = head.uri.authority().map(Authority::as_str).or_else(|| text(&HOST));
        if head.peer.is_some_and(|peer| proxies.contains(peer)) {
            // The nearest proxy writes on the right.
            let last = |name| text(name).and_then(|value| value.rsplit(',').next()).map(str::trim);
            scheme = match last(&X_FORWARDED_PROTO) {
                Some("https") => "https",
                Some("http") => "http",
                _ => scheme,
            };
            name = last(&X_FORWARDED_HOST).or(name);
        }
        // Without a host there is no URI, so no proof matches.
        format!("{scheme}://{}", name.filter(|name| host::is_loopback(name)).unwrap_or_default())
    }

    /// Verifies and admits a token that was sent as `Authorization: DPoP`. Such
    /// a token is bound to a key and comes with a proof (RFC 9449 §7.1).
    pub(crate) fn verify(
        &self,
        verifier: &Verifier,
        token: &str,
        head: RequestHead<'_>,
        now: UnixTime,
    ) -> Result<Session, Rejection> {
        let session: Session =
            self.with(head, |request| verifier.verify_bound(token, request, &self.proofs, now))?;
        if session.bound_to().is_none() {
            return Err(NOT_BOUND);
        }
        Ok(session)
    }

    /// Returns a `DPoP-Nonce` for the client's next proof (RFC 9449 §8.2: also
    /// on success).
    pub(crate) fn nonce(&self, now: UnixTime) -> Option<HeaderValue> {
        self.proofs.nonce(now)?.try_into().ok()
    }

    /// Completes the answer to a request with these headers: a client that
    /// sends proofs, or should, learns what its next proof needs and why this
    /// one was refused.
    pub(crate) fn answered(
        &self,
        mut response: Response,
        request: &HeaderMap,
        rejection: Option<&Rejection>,
        now: UnixTime,
    ) -> Response {
        if !is_meant(request) && !matches!(rejection, Some(Rejection::ProofRequired { .. })) {
            return response;
        }
        if let Some(nonce) = self.nonce(now) {
            response.headers_mut().insert(&DPOP_NONCE, nonce);
        }
        // A demand for a new log-in has its own challenge (RFC 9470).
        let reauthenticate = matches!(rejection, Some(Rejection::ReauthenticationRequired { .. }));
        if response.status() == StatusCode::UNAUTHORIZED && !reauthenticate {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge(rejection));
        }
        response
    }
}

impl<'a> RequestHead<'a> {
    /// For a request that routers may have shortened.
    pub(crate) fn of<B>(request: &'a Request<B>) -> Self {
        let original = request.extensions().get::<OriginalUri>();
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        Self {
            method: request.method(),
            uri: original.map_or(request.uri(), |uri| &uri.0),
            headers: request.headers(),
            peer: peer.map(|peer| peer.0.ip()),
        }
    }
}

/// A token without a key where a bound token is expected.
pub(crate) const NOT_BOUND: Rejection = Rejection::ProofRequired { detail: ProofError::NotBound };

/// Returns whether the client sends proofs.
pub(crate) fn is_meant(headers: &HeaderMap) -> bool {
    headers.contains_key(&DPOP) || matches!(Credential::find(headers, ""), Ok(Some(Credential::Dpop(_))))
}

/// Returns whether the request has a proof.
#[cfg(feature = "server")]
pub(crate) fn is_there(headers: &HeaderMap) -> bool {
    headers.contains_key(&DPOP)
}

/// RFC 9449 §7.1 and §9. The log gets the exact reason; the client must learn only
/// whether another nonce helps.
fn challenge(rejection: Option<&Rejection>) -> HeaderValue {
    let error = match rejection {
        None => None,
        Some(rejection) if wants_nonce(rejection) => Some("use_dpop_nonce"),
        Some(Rejection::ProofRequired { .. } | Rejection::Replayed) => Some("invalid_dpop_proof"),
        Some(_) => Some("invalid_token"),
    };
    let value = match error {
        Some(error) => format!("DPoP error=\"{error}\", algs=\"{ALGORITHMS}\""),
        None => format!("DPoP algs=\"{ALGORITHMS}\""),
    };
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("DPoP"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::RevokedBy;
    use crate::proof::ServerNonces;
    use crate::replay::NonceCache;

    fn proofs() -> ProofVerifier {
        ProofVerifier::new(NonceCache::new(UnixTime::EPOCH), ServerNonces::with_secret("x", [1; 32]))
    }

    fn uri(proofs: &RequestProofs, uri: &str, peer: &str, pairs: &[(&'static str, &'static str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        let (uri, peer) = (uri.parse().unwrap(), peer.parse().ok());
        let head = RequestHead { method: &Method::GET, uri: &uri, headers: &headers, peer };
        proofs.with(head, |request| request.uri.to_owned())
    }

    #[test]
    fn the_uri_is_where_the_client_sees_the_service() {
        let lan = TrustedProxies::new(["10.0.0.0/8"]).unwrap();
        let asked = RequestProofs::on_loopback(proofs(), Scheme::Http, lan);
        let forwarded = [
            ("host", "127.0.0.9:1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil, localhost:8443"),
        ];
        let nowhere = "http:///x";
        for (sent, peer, headers, expected) in [
            ("/x?y", "192.0.2.1", &[("host", "localhost:8080")][..], "http://localhost:8080/x"),
            ("https://[::1]/x", "192.0.2.1", &[("host", "a.example")], "http://[::1]/x"),
            ("/x", "192.0.2.1", &forwarded, "http://127.0.0.9:1/x"),
            ("/x", "10.0.0.1", &forwarded, "https://localhost:8443/x"),
            ("/x", "10.0.0.1", &[("host", "localhost"), ("x-forwarded-proto", "ftp")], "http://localhost/x"),
            ("/x", "nowhere", &[], nowhere),
            // Whoever relays a proof of another service chooses these.
            ("/x", "192.0.2.1", &[("host", "a.example")], nowhere),
            ("https://a.example/x", "192.0.2.1", &[("host", "localhost")], nowhere),
            ("/x", "192.0.2.1", &[("host", "localhost@a.example")], nowhere),
            ("/x", "192.0.2.1", &[("host", "localhost.a.example")], nowhere),
            ("/x", "192.0.2.1", &[("host", "128.0.0.1")], nowhere),
            ("/x", "10.0.0.1", &[("host", "localhost"), ("x-forwarded-host", "a.example")], nowhere),
        ] {
            assert_eq!(uri(&asked, sent, peer, headers), expected);
        }
        let fixed = RequestProofs::at_origin(proofs(), "https://a.example".parse().unwrap());
        assert_eq!(uri(&fixed, "/x?y", "10.0.0.1", &forwarded), "https://a.example/x");
    }

    #[test]
    fn a_challenge_says_whether_a_nonce_helps() {
        let said = |rejection: Option<Rejection>| challenge(rejection.as_ref()).to_str().unwrap().to_owned();
        assert!(said(None).starts_with("DPoP algs="));
        for (rejection, error) in [
            (Rejection::ProofRequired { detail: ProofError::NonceMissing }, "use_dpop_nonce"),
            (Rejection::ProofRequired { detail: ProofError::NonceNotCurrent }, "use_dpop_nonce"),
            (Rejection::ProofRequired { detail: ProofError::Uri }, "invalid_dpop_proof"),
            (Rejection::Replayed, "invalid_dpop_proof"),
            (Rejection::Revoked { by: RevokedBy::Session }, "invalid_token"),
        ] {
            assert!(said(Some(rejection)).starts_with(&format!("DPoP error=\"{error}\"")));
        }
    }
}
