//! A request without its body: its client, credential and address.

use core::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, OriginalUri};
use http::request::Parts;
use http::{HeaderMap, Method, Uri};

use crate::http::proof::RequestHead;
use crate::http::{Credential, CredentialError, csrf};
use crate::server::state::App;

/// The parts of a request that every handler with a session needs.
pub(crate) struct RequestContext {
    method: Method,
    /// With the base path, which a nested router takes off.
    uri: Uri,
    pub(crate) headers: HeaderMap,
    peer: Option<IpAddr>,
    /// The session cookie's name.
    cookie: &'static str,
}

impl FromRequestParts<Arc<App>> for RequestContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Infallible> {
        let original = parts.extensions.get::<OriginalUri>().map(|uri| uri.0.clone());
        Ok(Self {
            method: parts.method.clone(),
            uri: original.unwrap_or_else(|| parts.uri.clone()),
            headers: parts.headers.clone(),
            peer: parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip()),
            cookie: app.settings.cookie.name(),
        })
    }
}

impl RequestContext {
    /// Returns the peer's address, which every listener provides.
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// Returns what a proof is compared with.
    pub(crate) const fn head(&self) -> RequestHead<'_> {
        RequestHead { method: &self.method, uri: &self.uri, headers: &self.headers, peer: self.peer }
    }

    /// Returns the token that the request carries.
    pub(crate) fn credential(&self) -> Result<Option<Credential<'_>>, CredentialError> {
        Credential::find(&self.headers, self.cookie)
    }

    /// Returns whether a page of another site made the browser send it.
    pub(crate) fn is_cross_site(&self) -> bool {
        csrf::check(&self.headers, &self.uri).is_err()
    }
}
