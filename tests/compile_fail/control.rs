//! The control: the right way compiles, so that the others fail for what is
//! wrong with them.

use hallpass::{
    Algorithm, KeySet, KeyUse, Lifetimes, Minter, NewSession, Session, SigningKey, Subject, UnixTime, UnverifiedToken,
    VerifiedToken, Verifier,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = SigningKey::from_seed(&[0; 32], KeyUse::Session, Algorithm::EdDsa)?;
    let keys = KeySet::new([key.verifying_key().clone()])?;
    let (subject, now) = (Subject::new("alice")?, UnixTime::EPOCH);
    let new =
        NewSession { subject: &subject, claims: &(), started: now, auth_time: now, ends: None, amr: &[], bound_to: None };
    let token = Minter::new(Lifetimes::default()).start(&key, &new, now)?;
    let unverified: UnverifiedToken = UnverifiedToken::decode(token.as_str())?;
    let verified: VerifiedToken = unverified.verify(&keys, now)?;
    let verifier: Verifier = Verifier::builder(keys).without_revocations().build()?;
    let session: Session = verifier.admit(verified, now)?;
    println!("{}", serde_json::to_string(&session)?);
    Ok(())
}
