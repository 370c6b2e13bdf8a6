//! The main job, once through.

#[cfg(feature = "issuer")]
#[test]
fn a_token_is_issued_and_verified_with_the_public_key_alone() {
    use hallpass::*;
    let key = SigningKey::generate(KeyUse::Session, Algorithm::EdDsa).unwrap();
    let keys = KeySet::new([key.verifying_key().clone()]).unwrap();
    let minter = Minter::new(Lifetimes::default()).audience(Some("store".into()));
    let now = UnixTime::from_secs(1_790_000_000).unwrap();
    let subject = Subject::new("alice").unwrap();
    let new = NewSession {
        subject: &subject,
        claims: &(),
        started: now,
        auth_time: now,
        ends: None,
        amr: &[],
        bound_to: None,
    };
    let token = minter.start(&key, &new, now).unwrap();
    let verifier = Verifier::builder(keys).audience("store").without_revocations().build().unwrap();
    let session: Session = verifier.verify(token.as_str(), now).unwrap();
    assert_eq!(session.subject(), "alice");
    assert!(token.as_str().len() <= 230, "{}", token.as_str().len());
    println!("{}", danger::inspect(token.as_str()).unwrap().diagnostic);
    println!("{}", token.as_str());
}
