//! Looking inside a token that nobody has verified: for people and tests,
//! never for a decision.

use crate::error::Rejection;
use crate::id::hex;
use crate::time::UnixTime;
use crate::wire::claims::Claims;
use crate::wire::cose::{Sign1, Typ};
use crate::wire::{app, diag, text};

/// What a token says of itself. Whoever made it may have lied.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// CBOR diagnostic notation (RFC 8949 §8), the embedded byte strings
    /// opened as `<< … >>`.
    pub diagnostic: String,
    /// The same in JSON.
    pub json: serde_json::Value,
}

/// Opens a token without verifying it.
///
/// # Errors
/// [`Rejection::Malformed`] if it is not of the format, [`Rejection::WrongType`]
/// if it is neither a session token nor a ticket.
pub fn inspect(token: impl AsRef<[u8]>) -> Result<Inspection, Rejection> {
    let bytes = text::decode(token.as_ref())?;
    let frame = Sign1::decode(&bytes)?;
    let Some(typ @ (Typ::Session | Typ::Ticket)) = frame.header.typ else {
        return Err(Rejection::WrongType { expected: Typ::Session.name() });
    };
    let claims = Claims::decode(frame.payload, typ)?;
    Ok(Inspection { diagnostic: diag::sign1(&bytes), json: to_json(&frame, typ, &claims) })
}

fn to_json(frame: &Sign1<'_>, typ: Typ, claims: &Claims) -> serde_json::Value {
    let time = |at: UnixTime| at.to_string();
    let session = &claims.session;
    serde_json::json!({
        "verified": false,
        "type": typ.name(),
        "algorithm": frame.header.algorithm.jose(),
        "key_id": frame.header.key_id,
        "session": {
            "subject": claims.subject(),
            "session_id": session.session_id,
            "token_id": claims.token_id,
            "audience": claims.audience(),
            "issued_at": time(claims.issued),
            "expires_at": time(claims.expires),
            "started_at": time(session.started),
            "ends_at": time(session.ends),
            "auth_time": time(session.auth_time),
            "generation": session.generation,
            "claims": claims.app().map(app::to_json),
        },
        "issuer": claims.issuer(),
        "bound_to": claims.bound_to.map(|thumbprint| hex(&thumbprint)),
        "path": claims.path(),
    })
}
