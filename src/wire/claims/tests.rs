use proptest::prelude::*;

use super::*;

/// Claims with all their parts owned, for proptest.
#[derive(Clone, Debug)]
struct Owned {
    issuer: Option<String>,
    subject: String,
    audience: Option<String>,
    token_id: [u8; 16],
    bound_to: Option<[u8; 32]>,
    session_id: [u8; 16],
    times: [u64; 5],
    generation: u64,
    app: Option<Vec<u8>>,
    path: Option<String>,
    amr: Option<Vec<u8>>,
}

impl Owned {
    /// Times in order: started and auth_time ≤ iat < exp ≤ ends.
    fn claims(&self) -> NewClaims<'_> {
        let [started, auth_time, life, rest, shift] = self.times;
        let at = UnixTime::saturating_from_secs;
        let issued = started.max(auth_time);
        NewClaims {
            issuer: self.issuer.as_deref(),
            subject: &self.subject,
            audience: self.audience.as_deref(),
            expires: at(issued + 1 + life),
            issued: at(issued),
            token_id: TokenId::from_bytes(self.token_id),
            bound_to: self.bound_to,
            session: SessionPart {
                session_id: SessionId::from_bytes(self.session_id),
                started: at(started),
                ends: at(issued + 1 + life + rest),
                generation: self.generation >> (shift % 64),
                auth_time: at(auth_time),
            },
            app: self.app.as_deref(),
            path: self.path.as_deref(),
            amr: self.amr.as_deref(),
        }
    }
}

fn owned() -> impl Strategy<Value = Owned> {
    let time = prop_oneof![0_u64..30, 0_u64..5_000_000_000, Just(0)];
    (
        (proptest::option::of(".{0,9}"), "[^\\x00]{1,20}", proptest::option::of(".{0,9}")),
        (any::<[u8; 16]>(), proptest::option::of(any::<[u8; 32]>()), any::<[u8; 16]>()),
        (proptest::array::uniform5(time), any::<u64>()),
        (
            proptest::option::of(proptest::collection::vec((any::<u16>(), ".{0,6}"), 0..6)),
            proptest::option::of(".{0,20}"),
            proptest::collection::vec("[!-~]{1,32}", 0..=8),
        ),
    )
        .prop_map(|(names, ids, numbers, rest)| Owned {
            issuer: names.0,
            subject: names.1,
            audience: names.2,
            token_id: ids.0,
            bound_to: ids.1,
            session_id: ids.2,
            times: numbers.0,
            generation: numbers.1,
            app: rest.0.map(|value| app::encode(&value).unwrap().unwrap()),
            path: rest.1,
            amr: amr::encode(&rest.2).unwrap(),
        })
}

proptest! {
    /// What is encoded is what is decoded.
    #[test]
    fn claims_round_trip(owned in owned()) {
        let new = owned.claims();
        let payload = new.encode();
        let typ = if new.path.is_some() { Typ::Ticket } else { Typ::Session };
        let decoded = Claims::decode(&payload, typ);
        if typ == Typ::Ticket && new.audience.is_none() {
            prop_assert_eq!(decoded, Err(Malformed::MissingClaim));
            return Ok(());
        }
        let decoded = decoded.unwrap();
        prop_assert_eq!(decoded.issuer(), new.issuer);
        prop_assert_eq!(decoded.subject(), new.subject);
        prop_assert_eq!(decoded.audience(), new.audience);
        prop_assert_eq!(decoded.expires, new.expires);
        prop_assert_eq!(decoded.issued, new.issued);
        prop_assert_eq!(decoded.token_id, new.token_id);
        prop_assert_eq!(decoded.bound_to, new.bound_to);
        prop_assert_eq!(decoded.session, new.session);
        prop_assert_eq!(decoded.app(), new.app);
        prop_assert_eq!(decoded.path(), new.path);
        prop_assert_eq!(decoded.amr_bytes(), new.amr);
        // A path belongs to tickets, whatever else is right.
        if new.path.is_some() {
            prop_assert_eq!(Claims::decode(&payload, Typ::Session), Err(Malformed::UnknownClaim));
        }
    }

    /// Claims that are accepted are written alike by our own writer, so
    /// that no other payload says the same.
    #[test]
    fn accepted_claims_have_one_spelling(
        owned in owned(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut payload = owned.claims().encode();
        for (at, to) in changes {
            let at = at.index(payload.len());
            payload[at] = to;
        }
        if let Ok(decoded) = Claims::decode(&payload, Typ::Ticket) {
            prop_assert_eq!(again(&decoded), payload);
        }
    }

    #[test]
    fn any_bytes_are_claims_or_not(payload in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(decoded) = Claims::decode(&payload, Typ::Session) {
            prop_assert_eq!(again(&decoded), payload);
        }
    }
}

fn again(claims: &Claims) -> Vec<u8> {
    NewClaims {
        issuer: claims.issuer(),
        subject: claims.subject(),
        audience: claims.audience(),
        expires: claims.expires,
        issued: claims.issued,
        token_id: claims.token_id,
        bound_to: claims.bound_to,
        session: claims.session,
        app: claims.app(),
        path: claims.path(),
        amr: claims.amr_bytes(),
    }
    .encode()
}

/// Places in the payload are 16 bits wide, and so is what is looked at.
#[test]
fn a_payload_of_64_kib_is_not_looked_at() {
    let owned = Owned {
        issuer: None,
        subject: "a".to_owned(),
        audience: Some("b".to_owned()),
        token_id: [0; 16],
        bound_to: None,
        session_id: [0; 16],
        times: [0; 5],
        generation: 0,
        app: None,
        path: None,
        amr: None,
    };
    let fill = |length: usize| app::encode(&"x".repeat(length)).unwrap();
    let rest = Owned { app: fill(0x8000), ..owned.clone() }.claims().encode().len() - 0x8000;
    let just = Owned { app: fill(0xffff - rest), ..owned.clone() };
    let payload = just.claims().encode();
    assert_eq!(payload.len(), 0xffff);
    let decoded = Claims::decode(&payload, Typ::Session).unwrap();
    assert_eq!(decoded.app(), just.app.as_deref());
    let over = Owned { app: fill(0x10000 - rest), ..owned };
    assert_eq!(Claims::decode(&over.claims().encode(), Typ::Session), Err(Malformed::TooLong));
}
