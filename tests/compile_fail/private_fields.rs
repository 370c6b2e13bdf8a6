//! What is not verified can't be read, and what is can't be changed.

use hallpass::{Session, UnverifiedToken, VerifiedToken};

fn read(unverified: UnverifiedToken, verified: VerifiedToken, mut session: Session) {
    let _ = unverified.bytes; //~ E0616
    let _ = unverified.claims(); //~ E0599
    let _ = unverified.subject(); //~ E0599
    let _ = verified.claims; //~ E0616
    let _ = verified.claims(); //~ E0624
    session.token = unreachable!(); //~ E0616
}

fn main() {}
