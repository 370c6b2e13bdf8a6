//! Expired cookies: the issuer's own pages and routes for browsers renew them
//! first, as an edge does.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};

use super::error::failed;
use super::request::RequestContext;
use crate::error::Rejection;
use crate::http::{Credential, csrf};
use crate::issuer::RenewError;
use crate::server::state::App;
use crate::session::Session;

/// Renews the cookie of a session that has rested for longer than a token
/// lives. The handler gets the new token, and so does the browser.
pub(super) async fn resume(
    State(app): State<Arc<App>>,
    context: RequestContext,
    mut request: Request,
    next: Next,
) -> Response {
    let Ok(Some(credential @ Credential::Cookie(old))) = context.credential() else {
        return next.run(request).await;
    };
    let now = app.now();
    let verdict: Result<Session, _> = app.hosts.own().verify(old, now);
    let forged = csrf::is_unsafe(request.method()) && context.is_cross_site();
    if forged || !matches!(verdict, Err(Rejection::Expired { .. })) {
        return next.run(request).await;
    }
    let client = app.client(&context);
    let token = match app.service.renew(credential, context.head(), &client, now).await {
        Ok(renewal) => renewal.token,
        Err(error @ (RenewError::Ledger(_) | RenewError::Mint(_))) => {
            return failed("The session could not be renewed. Try again.")(error).into_response();
        }
        // The handler refuses the old token.
        Err(RenewError::Refused(_) | RenewError::Reuse { .. }) => return next.run(request).await,
    };
    replace(request.headers_mut(), old, token.as_str());
    let mut response = next.run(request).await;
    let max_age = token.renewable_until().since(now);
    app.settings.cookie.renew(response.headers_mut(), token.as_str(), max_age);
    response
}

/// Replaces a token in the cookies of a request.
fn replace(headers: &mut HeaderMap, old: &str, new: &str) {
    let cookies: Vec<_> = headers.get_all(header::COOKIE).iter().cloned().collect();
    headers.remove(header::COOKIE);
    for cookie in cookies {
        let replaced =
            cookie.to_str().ok().and_then(|text| HeaderValue::try_from(text.replace(old, new)).ok());
        headers.append(header::COOKIE, replaced.unwrap_or(cookie));
    }
}
