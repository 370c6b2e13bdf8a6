//! The stages can't be taken out of order.

use hallpass::danger::Inspection;
use hallpass::{KeySet, Session, SigningKey, UnixTime, UnverifiedToken, VerifiedToken, Verifier};

fn skip(verifier: Verifier, unverified: UnverifiedToken, looked_at: Inspection, now: UnixTime) {
    let _ = verifier.admit::<()>(unverified, now); //~ E0308
    let _ = verifier.admit::<()>(looked_at, now); //~ E0308
}

fn pretend(verified: VerifiedToken) {
    let _: Session = Session::admitted(verified); //~ E0624
    let _ = VerifiedToken::signed_here; //~ E0624
}

fn private_keys(key: SigningKey, unverified: UnverifiedToken, now: UnixTime) {
    let _ = unverified.verify(&key, now); //~ E0308
    let _ = KeySet::new([key]); //~ E0271
}

fn main() {}
