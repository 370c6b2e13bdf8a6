//! Heap use of a verification.

use hallpass::{
    Algorithm, KeySet, KeyUse, Lifetimes, Minter, NewSession, RevocationList, SigningKey, Subject, UnixTime,
    Verifier, VerifierBuilder,
};

use crate::ALLOCATOR;

const NOW: UnixTime = UnixTime::saturating_from_secs(1_790_000_000);

struct Issuer {
    key: SigningKey,
    minter: Minter,
    subject: Subject,
}

impl Issuer {
    fn new() -> Self {
        let key = SigningKey::generate(KeyUse::Session, Algorithm::EdDsa).unwrap();
        let minter = Minter::new(Lifetimes::default()).audience(Some("shop".into()));
        Self { key, minter, subject: Subject::new("alice").unwrap() }
    }

    fn token(&self) -> String {
        self.token_with(&())
    }

    fn token_with(&self, claims: &impl serde::Serialize) -> String {
        let subject = &self.subject;
        let new = NewSession {
            subject,
            claims,
            started: NOW,
            auth_time: NOW,
            ends: None,
            amr: &[],
            bound_to: None,
        };
        self.minter.start(&self.key, &new, NOW).unwrap().as_str().to_owned()
    }

    fn verifier(&self) -> VerifierBuilder {
        let list = RevocationList::new();
        list.apply_snapshot(hallpass::revocation::Position { epoch: 1, sequence: 1 }, NOW, []).unwrap();
        let keys = KeySet::new([self.key.verifying_key().clone()]).unwrap();
        Verifier::builder(keys).audience("shop").revocations(list)
    }
}

/// The most bytes that were in use during `work` beyond those before it.
fn taken<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = work();
    (result, ALLOCATOR.peak_usage() - before)
}

pub(crate) fn a_verification_takes_nothing_from_the_heap() {
    let issuer = Issuer::new();
    let (plain, caching) =
        (issuer.verifier().without_token_cache().build().unwrap(), issuer.verifier().build().unwrap());
    let tokens: Vec<String> = (0..16).map(|_| issuer.token()).collect();
    // What a thread or a key sets up once.
    assert!(plain.verify::<()>(&tokens[0], NOW).is_ok());

    for token in &tokens {
        let (session, bytes) = taken(|| plain.verify::<()>(token, NOW));
        assert!(session.is_ok());
        assert_eq!(bytes, 0, "cold, without a cache");
        let (session, bytes) = taken(|| caching.verify::<()>(token, NOW));
        assert!(session.is_ok());
        assert!((1..4096).contains(&bytes), "what enters the cache took {bytes}");
        let (session, bytes) = taken(|| caching.verify::<()>(token, NOW));
        assert!(session.is_ok());
        assert_eq!(bytes, 0, "hot");
        let (again, bytes) = taken(|| session.clone());
        assert!(again.is_ok());
        assert_eq!(bytes, 0, "a clone");
    }
    assert_eq!(caching.token_cache_counts().unwrap().hits, 16);

    let forged = |at: usize| {
        let mut token = tokens[0].clone().into_bytes();
        token[at] = if token[at] == b'A' { b'B' } else { b'A' };
        token
    };
    for garbage in
        [vec![], vec![b'A'; 5000], b"not a token".to_vec(), forged(0), forged(12), forged(60), forged(190)]
    {
        let (verdict, bytes) = taken(|| caching.verify::<()>(&garbage, NOW));
        assert!(verdict.is_err());
        assert_eq!(bytes, 0, "{verdict:?}");
    }

    // Application claims too long for what is inline take one allocation.
    let token = issuer.token_with(&"x".repeat(800));
    let (session, bytes) = taken(|| plain.verify::<String>(&token, NOW));
    assert!(session.is_ok());
    assert!((800..4096).contains(&bytes), "{bytes}");
}

pub(crate) fn a_token_cache_keeps_within_its_bytes() {
    const BOUND: usize = 1 << 20;
    let issuer = Issuer::new();
    let claims = ["x".repeat(300), String::new()];
    let verifier = issuer.verifier().token_cache(BOUND).build().unwrap();
    let before = ALLOCATOR.current_usage();
    let mut most = 0;
    for n in 0..6_000 {
        let token = if n % 3 == 0 { issuer.token_with(&claims[n % 2]) } else { issuer.token() };
        assert!(verifier.verify::<()>(&token, NOW).is_ok());
        drop(token);
        most = most.max(ALLOCATOR.current_usage() - before);
    }
    let counted = verifier.token_cache_counts().unwrap();
    assert!(most <= BOUND, "{most} bytes were taken, {counted:?}");
    assert!(counted.bytes > BOUND * 9 / 10, "{counted:?}");
    assert!(most > BOUND / 2, "the estimate is far too high: {most} bytes were taken, {counted:?}");
    println!("{most} bytes taken at most, {counted:?}");
}
