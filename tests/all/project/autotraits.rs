//! The public types can be sent to other threads.

use hallpass::replay::NonceSettings;
use hallpass::revocation::Entry;
use hallpass::*;

const fn anywhere<T: Send + Sync + Unpin + 'static>() {}

#[test]
fn what_others_hold_goes_to_other_threads() {
    anywhere::<Verifier>();
    anywhere::<VerifierBuilder>();
    anywhere::<TicketVerifier>();
    anywhere::<NonceCache>();
    anywhere::<NonceSettings>();
    anywhere::<RevocationList>();
    anywhere::<Entry>();
    anywhere::<LiveKeys>();
    anywhere::<KeySet>();
    anywhere::<UnverifiedToken>();
    anywhere::<VerifiedToken>();
    anywhere::<Session>();
    anywhere::<Session<Vec<String>>>();
    anywhere::<ConfigError>();
    anywhere::<Rejection>();
}

#[cfg(feature = "issuer")]
#[test]
fn so_does_the_issuers_half() {
    anywhere::<Issuer>();
    anywhere::<IssuedToken>();
    anywhere::<Minter>();
    anywhere::<KeyDir>();
    anywhere::<SigningKey>();
    anywhere::<SigningKeys>();
    anywhere::<RenewError<std::io::Error>>();
}

#[cfg(feature = "sync")]
#[test]
fn so_do_the_clients() {
    anywhere::<RenewClient>();
    anywhere::<revocation::sync::FeedClient>();
    anywhere::<revocation::sync::FeedHandle>();
}

#[cfg(feature = "axum")]
#[test]
fn so_do_the_layers() {
    anywhere::<SessionLayer>();
    anywhere::<http::TicketLayer>();
    anywhere::<http::Demand>();
}

#[cfg(feature = "proof")]
#[test]
fn so_do_the_proofs() {
    anywhere::<ProofVerifier>();
    anywhere::<proof::ServerNonces>();
}
