//! Nothing trusted exists by default.

use hallpass::{KeySet, Session, SigningKey, UnverifiedToken, VerifiedToken, Verifier};

fn main() {
    let _ = UnverifiedToken::default(); //~ E0599
    let _ = VerifiedToken::default(); //~ E0599
    let _ = Session::<()>::default(); //~ E0599
    let _ = KeySet::default(); //~ E0599
    let _ = SigningKey::default(); //~ E0599
    let _ = Verifier::default(); //~ E0599
}
