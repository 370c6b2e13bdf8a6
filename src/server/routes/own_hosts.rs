//! Accepts only requests for this service's own names. Another site can point
//! its own name at this machine (DNS rebinding). The browser then treats
//! requests here as that site's own.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::http::host;
use crate::http::problem::Problem;

/// Serves loopback names and `hosts`, whatever the port; answers 421 otherwise
/// (RFC 9110 §15.5.20).
pub(super) fn on_own_hosts(routes: Router, hosts: Arc<[Box<str>]>) -> Router {
    routes.layer(middleware::from_fn(move |request, next| answer(Arc::clone(&hosts), request, next)))
}

async fn answer(hosts: Arc<[Box<str>]>, request: Request, next: Next) -> Response {
    let named = host::named_host(request.uri(), request.headers());
    let own = |name: &str| {
        let name = host::without_port(name);
        name.is_some_and(|name| hosts.iter().any(|host| **host == *name))
    };
    if named.is_some_and(|name| host::is_loopback(name) || own(name)) {
        return next.run(request).await;
    }
    tracing::warn!(
        host = named.unwrap_or("none, or two"),
        "refused a request on the operators' address: name the host in admin_hosts if it is yours"
    );
    Problem::new(StatusCode::MISDIRECTED_REQUEST, "This address does not answer to this host name.")
        .into_response()
}
