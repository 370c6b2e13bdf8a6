#![cfg(feature = "issuer")]

use std::sync::Arc;

use super::part::{kind, label};
use super::*;
use crate::id::KeyId;
use crate::id::SessionId;
use crate::key::{Algorithm, KeyUse, SigningKey};
use crate::revocation::FeedLifetimes;
use crate::revocation::OutOfOrder;
use crate::revocation::SubjectHash;
use crate::wire::cbor::Writer;
use crate::wire::cose::{self, Header};

use Malformed as M;

/// Writes one field's value.
type Write = fn(&mut Writer) -> &mut Writer;

fn at(seconds: u64) -> UnixTime {
    UnixTime::saturating_from_secs(1_800_000_000 + seconds)
}

fn key(seed: u8, usage: KeyUse) -> SigningKey {
    SigningKey::from_seed(&[seed; 32], usage, Algorithm::EdDsa).unwrap()
}

fn feed_key() -> SigningKey {
    key(1, KeyUse::Feed)
}

fn pinned() -> FeedKeys {
    FeedKeys::new([feed_key().verifying_key().clone()]).unwrap()
}

fn session_key(seed: u8) -> SessionKey {
    SessionKey::new(key(seed, KeyUse::Session).verifying_key().clone(), at(0))
}

fn sid(n: u64) -> SessionId {
    SessionId::from_bytes(u128::from(n).to_be_bytes())
}

fn session(n: u64) -> Entry {
    Entry::Session { sid: sid(n), ends: at(n) }
}

fn of_each_kind() -> Vec<Entry> {
    vec![
        session(1),
        session(0xffff_ffff),
        Entry::Subject { hash: SubjectHash::of("alice"), up_to: at(2), ends: at(3) },
        Entry::Key { kid: KeyId::from_bytes([7; 8]), ends: at(4) },
        Entry::All { up_to: at(5), ends: UnixTime::MAX },
    ]
}

fn position(epoch: u64, sequence: u64) -> Position {
    Position { epoch, sequence }
}

fn new_feed(position: Position, base: Option<u64>, iat: u64, keys: &[SessionKey]) -> NewFeed<'_> {
    NewFeed {
        position,
        base,
        issued_at: at(iat),
        expires_at: at(iat + 600),
        session_keys: keys,
        lifetimes: None,
    }
}

/// A feed of one key, read back.
fn feed(place: (u64, u64), base: Option<u64>, iat: u64, keys: &[SessionKey], entries: Vec<Entry>) -> Feed {
    let new = new_feed(position(place.0, place.1), base, iat, keys);
    let bytes = new.sign(&feed_key(), entries).unwrap().concat();
    Feed::from_bytes(&pinned(), &bytes, at(iat)).unwrap()
}

#[test]
fn what_is_signed_is_read_back() {
    let keys = [session_key(2), SessionKey::new(session_key(3).key.retiring(Some(at(90))), at(9))];
    for (base, entries) in
        [(None, of_each_kind()), (Some(6), of_each_kind()), (Some(9), vec![]), (None, vec![])]
    {
        let new = new_feed(position(3, 9), base, 5, &keys);
        let parts = new.sign(&feed_key(), entries.clone()).unwrap();
        assert_eq!(parts.len(), 1);
        let feed = Feed::from_bytes(&pinned(), &parts.concat(), at(5)).unwrap();
        assert_eq!((feed.position(), feed.base()), (position(3, 9), base));
        assert_eq!((feed.issued_at(), feed.expires_at()), (at(5), at(605)));
        assert_eq!(feed.entries().collect::<Vec<_>>(), entries);
        assert_eq!(feed.len(), entries.len());
        assert_eq!(feed.session_keys(), keys);
        assert_eq!(feed.parts()[0].as_bytes(), parts[0]);
        assert_eq!(part_from_text(&part_to_text(&parts[0])).unwrap(), parts[0]);
    }
}

#[test]
fn the_issuers_lifetimes_are_in_the_first_part_alone() {
    let keys = [session_key(2)];
    let of = |secs| FeedLifetimes::from_secs(secs);
    let lifetimes = of([300, 86_400, 150, 5]).unwrap();
    let new = NewFeed { lifetimes: Some(lifetimes), ..new_feed(position(1, 40), None, 5, &keys) };
    let parts = new.sign_in_parts(&feed_key(), (940..1100).map(session), 700).unwrap();
    assert!(parts.len() > 4);
    let feed = Feed::from_bytes(&pinned(), &parts.concat(), at(5)).unwrap();
    assert_eq!(feed.lifetimes(), Some(lifetimes));
    assert!(feed.parts()[1..].iter().all(|part| part.lifetimes().is_none()));
    let (list, live) = (RevocationList::new(), LiveKeys::awaiting());
    feed.apply(&list, &live, at(5)).unwrap();
    assert_eq!(list.lifetimes(), Some(lifetimes));
    // A later feed replaces them.
    let next = new_feed(position(1, 40), Some(40), 6, &keys).sign(&feed_key(), []).unwrap().concat();
    Feed::from_bytes(&pinned(), &next, at(6)).unwrap().apply(&list, &live, at(6)).unwrap();
    assert_eq!(list.lifetimes(), None);
    for secs in
        [[0, 0, 0, 0], [300, 299, 0, 0], [300, 400 * 86_400 + 1, 0, 0], [300, 300, 301, 0], [300, 300, 0, 61]]
    {
        assert_eq!(of(secs), None, "{secs:?}");
    }
    assert!(of([400 * 86_400, 400 * 86_400, 400 * 86_400, 60]).is_some());
}

#[test]
fn what_is_signed_does_not_depend_on_the_order_of_the_entries() {
    let keys = [session_key(2)];
    let new = new_feed(position(1, 40), None, 1000, &keys);
    let sign = |entries: Vec<Entry>| new.sign_in_parts(&feed_key(), entries, 700).unwrap();
    // An entry is kept for a minute after its end.
    let live: Vec<_> = (940..1100).map(session).collect();
    let parts = sign(live.clone());
    assert!(parts.len() > 4);
    assert_eq!(sign(live.iter().rev().copied().collect()), parts);
    assert_eq!(sign((0..1100).chain(940..1000).map(session).collect()), parts);
    let feed = Feed::from_bytes(&pinned(), &parts.concat(), at(1000)).unwrap();
    assert_eq!(feed.entries().collect::<Vec<_>>(), live);
}

fn in_small_parts(entries: u64) -> Vec<Vec<u8>> {
    let keys = [session_key(2)];
    let new = new_feed(position(1, 40), None, 0, &keys);
    let parts = new.sign_in_parts(&feed_key(), (0..entries).map(session), 700).unwrap();
    assert!(parts.iter().all(|part| part.len() <= 700));
    parts
}

#[test]
fn parts_make_a_feed_in_any_order_and_only_all_of_them() {
    let signed = in_small_parts(100);
    assert!(signed.len() > 4);
    let parts: Vec<_> = signed.iter().map(|part| pinned().verify_part(part, at(0)).unwrap()).collect();
    for shift in 0..parts.len() {
        let mut collected = FeedParts::default();
        let mut feed = None;
        for n in 0..parts.len() {
            assert!(feed.is_none());
            assert_eq!(collected.finish().is_err(), n > 0);
            feed = collected.add(parts[(n * 3 + shift) % parts.len()].clone()).unwrap();
        }
        let entries: Vec<_> = feed.unwrap().entries().collect();
        assert_eq!(entries, (0..100).map(session).collect::<Vec<_>>());
    }
    let mut collected = FeedParts::default();
    collected.add(parts[2].clone()).unwrap();
    assert_eq!(collected.add(parts[2].clone()).unwrap_err(), FeedError::DuplicatePart { part: 2 });

    let missing = signed[..signed.len() - 1].concat();
    let (found, parts) = (signed.len() as u64 - 1, signed.len() as u64);
    let of = |bytes: &[u8]| Feed::from_bytes(&pinned(), bytes, at(0)).unwrap_err();
    assert_eq!(of(&missing), FeedError::MissingParts { found, parts });
    let whole = signed.concat();
    assert_eq!(of(&whole[..whole.len() - 1]), FeedError::MissingParts { found, parts });
    assert_eq!(of(&[&whole[..], &signed[0]].concat()), Malformed::TrailingBytes.into());
    assert_eq!(of(&[]), Malformed::Empty.into());
}

#[test]
fn parts_of_two_feeds_make_none() {
    let keys = [session_key(2)];
    let one = new_feed(position(1, 40), Some(3), 0, &keys);
    let others = [
        NewFeed { position: position(2, 40), ..one.clone() },
        NewFeed { position: position(1, 41), ..one.clone() },
        NewFeed { base: None, ..one.clone() },
        NewFeed { base: Some(4), ..one.clone() },
        NewFeed { issued_at: at(1), ..one.clone() },
        NewFeed { expires_at: at(601), ..one.clone() },
    ];
    let parts =
        |new: &NewFeed<'_>, entries| new.sign_in_parts(&feed_key(), (0..entries).map(session), 700).unwrap();
    let same = parts(&one, 100);
    let longer = parts(&one, 200);
    for other in others.iter().map(|new| parts(new, 100)).chain([longer]) {
        let mut collected = FeedParts::default();
        assert!(collected.add(pinned().verify_part(&same[0], at(1)).unwrap()).unwrap().is_none());
        let foreign = pinned().verify_part(&other[1], at(1)).unwrap();
        assert_eq!(collected.add(foreign).unwrap_err(), FeedError::PartsDisagree);
    }
}

/// A payload with some fields other than they should be.
fn payload(changes: &[(u64, Write)]) -> Vec<u8> {
    let mut w = Writer::default();
    w.map(label::ALL.len());
    for field in label::ALL {
        w.uint(field);
        if let Some((_, write)) = changes.iter().find(|(changed, _)| *changed == field) {
            write(&mut w);
            continue;
        }
        match field {
            label::EPOCH | label::SEQUENCE => w.uint(9),
            label::BASE => w.null(),
            label::EXP => w.uint(at(600).as_secs()),
            label::IAT => w.uint(at(0).as_secs()),
            label::PART => w.array(2).uint(0).uint(1),
            label::ENTRIES => w.array(0),
            _ => write_key(w.array(1), &session_key(2)),
        };
    }
    w.into_vec()
}

fn write_key<'a>(w: &'a mut Writer, key: &SessionKey) -> &'a mut Writer {
    let key = key.verifying_key();
    w.array(5).bytes(key.id().as_bytes()).bytes(key.as_bytes()).int(-8).uint(1).uint(UnixTime::MAX.as_secs())
}

fn signed(payload: &[u8], by: &SigningKey, typ: Typ) -> Vec<u8> {
    let header = Header::encode(by.algorithm(), by.id(), typ);
    cose::encode(&header, payload, |message| by.sign(message))
}

fn verdict(payload: &[u8]) -> FeedError {
    let bytes = signed(payload, &feed_key(), Typ::Feed);
    Feed::from_bytes(&pinned(), &bytes, at(0)).unwrap_err()
}

#[test]
fn only_the_format_is_read_even_from_the_pinned_key() {
    let good = signed(&payload(&[]), &feed_key(), Typ::Feed);
    assert!(Feed::from_bytes(&pinned(), &good, at(0)).is_ok());

    let cases: &[(u64, Write, FeedError)] = &[
        (label::EPOCH, |w| w.text("9"), M::ClaimType.into()),
        (label::EPOCH, |w| w.int(-1), M::ClaimType.into()),
        (label::SEQUENCE, |w| w.null(), M::ClaimType.into()),
        (label::SEQUENCE, |w| w.raw(&[0x18, 9]), M::NotShortest.into()),
        (label::BASE, |w| w.uint(10), M::ClaimRange.into()),
        (label::BASE, |w| w.simple(23), M::ClaimType.into()),
        (label::EXP, |w| w.uint(u64::MAX), M::ClaimRange.into()),
        (label::EXP, |w| w.uint(at(0).as_secs()), M::TimesOutOfOrder.into()),
        (label::IAT, |w| w.float(1.5), M::ClaimType.into()),
        (label::PART, |w| w.array(2).uint(1).uint(1), M::ClaimRange.into()),
        (label::PART, |w| w.array(2).uint(0).uint(0), M::ClaimRange.into()),
        (label::PART, |w| w.array(1).uint(0), M::ClaimType.into()),
        (label::PART, |w| w.uint(0), M::ClaimType.into()),
        (label::PART, |w| w.array(2).uint(0).uint(2), FeedError::MissingParts { found: 1, parts: 2 }),
        (
            label::PART,
            |w| w.array(2).uint(0).uint(u64::MAX),
            FeedError::MissingParts { found: 1, parts: u64::MAX },
        ),
        (label::ENTRIES, |w| w.map(0), M::ClaimType.into()),
        (label::ENTRIES, |w| w.raw(&[0x9f, 0xff]), M::IndefiniteLength.into()),
        // Announced, and not there: what follows is no entry.
        (label::ENTRIES, |w| w.array(usize::MAX), M::ClaimType.into()),
        (label::ENTRIES, |w| w.array(1).array(0), M::ClaimType.into()),
        (label::ENTRIES, |w| w.array(1).array(1).uint(kind::SESSION), M::ClaimType.into()),
        (
            label::ENTRIES,
            |w| w.array(1).array(3).uint(kind::SESSION).bytes(&[1; 15]).uint(5),
            M::ClaimType.into(),
        ),
        (
            label::ENTRIES,
            |w| w.array(1).array(3).uint(kind::SESSION).text("0123456789abcdef").uint(5),
            M::ClaimType.into(),
        ),
        (label::ENTRIES, |w| w.array(1).array(3).uint(kind::ALL).uint(5).int(-1), M::ClaimType.into()),
        (
            label::ENTRIES,
            |w| w.array(1).array(4).uint(kind::ALL).uint(5).uint(5).uint(5),
            M::ClaimType.into(),
        ),
        (label::ENTRIES, |w| w.array(1).array(2).text("x").uint(5), M::ClaimType.into()),
        (label::ENTRIES, |w| w.array(1).array(2).uint(4).uint(5), FeedError::UnknownEntry { kind: 4 }),
        (label::ENTRIES, |w| w.array(1).array(1).uint(u64::MAX), FeedError::UnknownEntry { kind: u64::MAX }),
        (label::SESSION_KEYS, |w| w.array(0), FeedError::NoSessionKeys),
        (label::SESSION_KEYS, |w| w.array(257), FeedError::TooManySessionKeys),
        (label::SESSION_KEYS, |w| w.array(1).array(0), M::ClaimType.into()),
        (label::SESSION_KEYS, |w| w.null(), M::ClaimType.into()),
        (
            label::SESSION_KEYS,
            |w| write_key(write_key(w.array(2), &session_key(2)), &session_key(2)),
            FeedError::DuplicateSessionKey { key_id: session_key(2).key.id() },
        ),
        (
            label::SESSION_KEYS,
            |w| write_key(w.array(1), &SessionKey::new(feed_key().verifying_key().clone(), at(0))),
            FeedError::SharedKey { key_id: feed_key().id() },
        ),
        (
            label::SESSION_KEYS,
            // The kid is of another key.
            |w| {
                w.array(1)
                    .array(5)
                    .bytes(&[1; 8])
                    .bytes(session_key(2).key.as_bytes())
                    .int(-8)
                    .uint(0)
                    .uint(9)
            },
            FeedError::BadSessionKey { key_id: KeyId::from_bytes([1; 8]) },
        ),
        (
            label::SESSION_KEYS,
            // Of small order: anyone could sign for it.
            |w| w.array(1).array(5).bytes(&[1; 8]).bytes(&[0; 32]).int(-8).uint(0).uint(9),
            FeedError::BadSessionKey { key_id: KeyId::from_bytes([1; 8]) },
        ),
        (
            label::SESSION_KEYS,
            |w| {
                let key = session_key(2).key;
                w.array(1).array(5).bytes(key.id().as_bytes()).bytes(key.as_bytes()).int(-7).uint(0).uint(9)
            },
            FeedError::BadSessionKey { key_id: session_key(2).key.id() },
        ),
    ];
    for (n, (field, write, expected)) in cases.iter().enumerate() {
        assert_eq!(&verdict(&payload(&[(*field, *write)])), expected, "case {n}, field {field}");
    }
    let one: Write = |w| w.array(1).array(3).uint(kind::SESSION).bytes(&[1; 16]).uint(5);
    assert!(
        pinned()
            .verify_part(&signed(&payload(&[(label::ENTRIES, one)]), &feed_key(), Typ::Feed), at(0))
            .is_ok()
    );
}

#[test]
fn the_fields_are_exactly_those_of_the_format() {
    let good = payload(&[]);
    // The map's head is one byte, the first label stands behind it.
    let with = |place: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[place] = byte;
        bytes
    };
    assert_eq!(verdict(&with(0, 0xa7)), M::MissingClaim.into());
    let mut ninth = with(0, 0xa9);
    ninth.extend([0x0b, 0x00]);
    assert_eq!(verdict(&ninth), M::UnknownClaim.into());
    let mut lifetimes = with(0, 0xa9);
    lifetimes.extend([0x0a, 0x00]);
    assert_eq!(verdict(&lifetimes), M::ClaimType.into());
    let mut tenth = with(0, 0xaa);
    tenth.extend([0x0a, 0x84, 1, 1, 1, 1, 0x0b, 0x00]);
    assert_eq!(verdict(&tenth), M::UnknownClaim.into());
    assert_eq!(verdict(&with(1, 0)), M::UnknownClaim.into());
    assert_eq!(verdict(&with(1, 2)), M::MissingClaim.into());
    // epoch takes two bytes, then comes sequence's label.
    assert_eq!(verdict(&with(3, 1)), M::DuplicateKey.into());
    assert_eq!(verdict(&with(3, 0)), M::UnsortedKeys.into());
    assert_eq!(verdict(&[&good[..], &[0]].concat()), M::TrailingBytes.into());
    assert_eq!(verdict(&[]), M::Truncated.into());
    assert_eq!(verdict(&[0x80]), M::ClaimsNotMap.into());
    assert_eq!(verdict(&[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), M::Truncated.into());
    // Every prefix, signed by the pinned key.
    for end in 0..good.len() {
        verdict(&good[..end]);
    }
}

#[test]
fn only_a_pinned_feed_key_signs_and_only_feeds() {
    let good = payload(&[]);
    let verify = |bytes: &[u8]| pinned().verify_part(bytes, at(0)).map(drop).unwrap_err();
    for typ in [Typ::Session, Typ::Ticket] {
        assert_eq!(verify(&signed(&good, &feed_key(), typ)), FeedError::WrongType);
    }
    for stranger in [key(2, KeyUse::Session), key(9, KeyUse::Feed)] {
        let key_id = stranger.id();
        assert_eq!(verify(&signed(&good, &stranger, Typ::Feed)), FeedError::UnknownKey { key_id });
    }
    // The kid of the pinned key, and the signature of another.
    let header = Header::encode(Algorithm::EdDsa, feed_key().id(), Typ::Feed);
    let forged = cose::encode(&header, &good, |message| key(9, KeyUse::Feed).sign(message));
    let key_id = feed_key().id();
    assert_eq!(verify(&forged), FeedError::BadSignature { key_id });
    // The pinned key, and not its algorithm.
    let header = Header::encode(Algorithm::Ed25519, feed_key().id(), Typ::Feed);
    let other = cose::encode(&header, &good, |message| feed_key().sign(message));
    assert_eq!(verify(&other), FeedError::BadSignature { key_id });
    // A feed key that has retired.
    let retired = FeedKeys::new([feed_key().verifying_key().clone().retiring(Some(at(0)))]).unwrap();
    let part = signed(&good, &feed_key(), Typ::Feed);
    assert_eq!(retired.verify_part(&part, at(0)).unwrap_err(), FeedError::UnknownKey { key_id });
    // Any bit, anywhere; and any end.
    for byte in 0..part.len() {
        let mut changed = part.clone();
        changed[byte] ^= 1 << (byte % 8);
        verify(&changed);
        verify(&part[..byte]);
    }
    assert_eq!(verify(&vec![0; MAX_PART_BYTES + 1]), FeedError::TooLong);
}

#[test]
fn a_feed_is_received_from_its_issue_to_its_expiry() {
    let keys = [session_key(2)];
    let part = &new_feed(position(1, 1), None, 100, &keys).sign(&feed_key(), []).unwrap()[0];
    let verify = |now| pinned().verify_part(part, now).map(drop);
    let (issued_at, expires_at) = (at(100), at(700));
    assert_eq!(verify(at(94)), Err(FeedError::NotYetValid { issued_at, now: at(94) }));
    assert_eq!(verify(at(95)), Ok(()));
    assert_eq!(verify(at(704)), Ok(()));
    assert_eq!(verify(at(705)), Err(FeedError::Expired { expires_at, now: at(705) }));
    let strict = pinned().with_leeway(Duration::ZERO);
    assert_eq!(
        strict.verify_part(part, at(99)).unwrap_err(),
        FeedError::NotYetValid { issued_at, now: at(99) }
    );
    assert_eq!(
        strict.verify_part(part, at(700)).unwrap_err(),
        FeedError::Expired { expires_at, now: at(700) }
    );
    // What was kept is judged by its age, and still can't be from the future.
    assert!(pinned().part(part, at(9999), Expiry::Waived).is_ok());
    assert!(pinned().part(part, at(94), Expiry::Waived).is_err());
}

#[test]
fn what_every_edge_would_refuse_is_not_signed() {
    let keys = [session_key(2)];
    let new = new_feed(position(1, 5), Some(5), 0, &keys);
    let refused = |new: &NewFeed<'_>, key: &SigningKey| new.sign(key, []).unwrap_err();
    assert!(matches!(
        refused(&new, &key(3, KeyUse::Session)),
        ConfigError::KeyUse { wanted: KeyUse::Feed, .. }
    ));
    assert!(matches!(
        refused(&new, &key(2, KeyUse::Feed)),
        ConfigError::KeyUse { wanted: KeyUse::Session, .. }
    ));
    assert!(matches!(
        refused(&NewFeed { session_keys: &[], ..new.clone() }, &feed_key()),
        ConfigError::NoKeys
    ));
    for bad in [NewFeed { base: Some(6), ..new.clone() }, NewFeed { issued_at: at(600), ..new.clone() }] {
        assert!(matches!(refused(&bad, &feed_key()), ConfigError::Builder(_)));
    }
    let many: Vec<_> = (2..=254).map(session_key).chain((0..4).map(|_| session_key(2))).collect();
    assert!(matches!(refused(&NewFeed { session_keys: &many, ..new }, &feed_key()), ConfigError::Builder(_)));
}

/// The edge's whole state.
fn state(list: &RevocationList, keys: &LiveKeys) -> impl PartialEq + core::fmt::Debug {
    let snapshot = list.snapshot();
    let mut entries: Vec<_> = snapshot.entries().collect();
    entries.sort();
    (snapshot.position(), snapshot.as_of(), entries, Arc::as_ptr(&keys.current()), keys.current())
}

#[test]
fn list_and_keys_follow_the_feed_together_or_stay() {
    let (list, keys) = (RevocationList::new(), LiveKeys::awaiting());
    let (old, new) = ([session_key(2)], [session_key(3)]);
    let both = [session_key(2), session_key(3)];
    let has = |key: &SessionKey| keys.current().get(key.key.id(), at(0)).is_some();

    feed((1, 5), None, 0, &old, vec![session(1)]).apply(&list, &keys, at(0)).unwrap();
    assert_eq!((list.position(), list.as_of(), list.len()), (Some(position(1, 5)), Some(at(0)), 1));
    assert!(has(&old[0]) && !has(&new[0]));

    // A delta, with keys that are the same: the set is not even replaced.
    let before = keys.current();
    feed((1, 7), Some(5), 10, &old, vec![session(2), session(3)]).apply(&list, &keys, at(10)).unwrap();
    assert_eq!((list.position(), list.as_of(), list.len()), (Some(position(1, 7)), Some(at(10)), 3));
    assert!(Arc::ptr_eq(&before, &keys.current()));

    // A rotation.
    feed((1, 7), Some(7), 20, &both, vec![]).apply(&list, &keys, at(20)).unwrap();
    assert_eq!((list.as_of(), list.len()), (Some(at(20)), 3));
    assert!(has(&old[0]) && has(&new[0]));

    let before = state(&list, &keys);
    let gap = |base| OutOfOrder::Gap { current: Some(position(1, 7)), base };
    for (feed, now, expected) in [
        (feed((1, 6), Some(5), 30, &old, vec![session(9)]), 30, "already at 1.7"),
        (feed((1, 6), None, 30, &old, vec![]), 30, "already at 1.7"),
        (feed((0, 99), None, 30, &old, vec![]), 30, "already at 1.7"),
        (feed((1, 9), Some(8), 30, &new, vec![session(9)]), 30, &gap(position(1, 8)).to_string()),
        (feed((1, 9), Some(6), 30, &new, vec![session(9)]), 30, &gap(position(1, 6)).to_string()),
        // Another epoch begins with a snapshot.
        (feed((2, 9), Some(7), 30, &new, vec![session(9)]), 30, &gap(position(2, 7)).to_string()),
        // An older signature of where the list is: its keys are old too.
        (feed((1, 7), Some(7), 19, &old, vec![]), 30, "before the one that was applied last"),
        (feed((1, 7), None, 19, &old, vec![]), 30, "before the one that was applied last"),
        (feed((1, 8), Some(7), 30, &[retiring(4, 40)], vec![session(9)]), 40, "no session key"),
    ] {
        let error = feed.apply(&list, &keys, at(now)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}, and not {expected}");
        assert_eq!(state(&list, &keys), before, "after {error}");
    }

    // The stolen key is revoked and replaced in one step.
    let stolen = Entry::Key { kid: old[0].key.id(), ends: at(99) };
    feed((1, 8), Some(7), 40, &new, vec![stolen]).apply(&list, &keys, at(40)).unwrap();
    assert!(!has(&old[0]) && has(&new[0]));
    assert!(list.check(&sid(77), "anyone", old[0].key.id(), at(40)).is_some());

    // A restored store: lower sequence, higher epoch.
    feed((2, 1), None, 50, &new, vec![session(5)]).apply(&list, &keys, at(50)).unwrap();
    assert_eq!((list.position(), list.len()), (Some(position(2, 1)), 1));
}

fn retiring(seed: u8, when: u64) -> SessionKey {
    SessionKey::new(session_key(seed).key.retiring(Some(at(when))), at(0))
}

#[test]
fn a_key_is_left_out_from_its_not_after_on() {
    let keys = [retiring(2, 50), session_key(3)];
    for (now, expected) in [(49, 2), (50, 1)] {
        let (list, live) = (RevocationList::new(), LiveKeys::awaiting());
        feed((1, 1), None, 40, &keys, vec![]).apply(&list, &live, at(now)).unwrap();
        assert_eq!(live.current().iter().len(), expected);
        assert_eq!(live.current().get(keys[0].key.id(), at(50)), None);
    }
}

#[test]
fn the_next_part_is_found_without_reading_it() {
    let parts = in_small_parts(30);
    let bytes = parts.concat();
    for end in 0..parts[0].len() {
        assert_eq!(next_part(&bytes[..end]).unwrap(), None);
    }
    assert_eq!(next_part(&bytes).unwrap(), Some(parts[0].len()));
    assert_eq!(next_part(b"{}").unwrap_err(), Malformed::NotSign1.into());
    // A payload that never ends is given up at the largest part.
    let mut endless = b"\xd2\x84\x41\xa0\xa0\x5b\x7f\xff\xff\xff\xff\xff\xff\xff".to_vec();
    assert_eq!(next_part(&endless).unwrap(), None);
    endless.resize(MAX_PART_BYTES, 0);
    assert_eq!(next_part(&endless).unwrap_err(), FeedError::TooLong);
    assert_eq!(part_from_text(&"A".repeat(MAX_PART_TEXT + 1)).unwrap_err(), FeedError::TooLong);
    assert_eq!(part_from_text("A=").unwrap_err(), Malformed::NotBase64url.into());
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_refused_without_panic(bytes: Vec<u8>) {
        proptest::prop_assert!(pinned().verify_part(&bytes, at(0)).is_err());
        let signed = signed(&bytes, &feed_key(), Typ::Feed);
        proptest::prop_assert!(pinned().verify_part(&signed, at(0)).is_err());
    }
}
