//! A part of a feed verifies only if the feed key signed it. A signed payload
//! is refused, or encodes again to the same bytes. The framing finds no part
//! outside of its input.
#![no_main]

use std::sync::LazyLock;

use ciborium::Value;
use ed25519_dalek::Signer;
use hallpass::revocation::feed::{FeedKeys, FeedParts, NewFeed, SessionKey};
use hallpass::revocation::{Entry, FeedLifetimes, Position};
use hallpass::{Algorithm, KeyUse, SessionId, SigningKey, UnixTime};
use hallpass_fuzz::{NOW, bytes, spelled};
use libfuzzer_sys::fuzz_target;

const SEED: [u8; 32] = [43; 32];

struct Fixture {
    raw: ed25519_dalek::SigningKey,
    keys: FeedKeys,
    /// A part that the feed key signed.
    part: Vec<u8>,
}

fn now() -> UnixTime {
    UnixTime::saturating_from_secs(NOW)
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let key = SigningKey::from_seed(&SEED, KeyUse::Feed, Algorithm::EdDsa).expect("a key");
    let session = SigningKey::from_seed(&[42; 32], KeyUse::Session, Algorithm::EdDsa).expect("a key");
    let ends = UnixTime::saturating_from_secs(NOW + 900);
    let new = NewFeed {
        position: Position { epoch: 1, sequence: 1 },
        base: None,
        issued_at: now(),
        expires_at: ends,
        session_keys: &[SessionKey::new(session.verifying_key().clone(), UnixTime::EPOCH)],
        lifetimes: None,
    };
    let entry = Entry::Session { sid: SessionId::from_bytes([5; 16]), ends };
    let part = new.sign(&key, [entry]).expect("a feed").remove(0);
    let keys = FeedKeys::new([key.verifying_key().clone()]).expect("feed keys");
    Fixture { raw: ed25519_dalek::SigningKey::from_bytes(&SEED), keys, part }
});

/// A part with this payload, signed by the feed key.
fn signed(payload: &[u8]) -> Vec<u8> {
    let Fixture { raw, part, .. } = &*FIXTURE;
    // The header has less than 24 bytes, so its length is in its head.
    let header = &part[2..3 + usize::from(part[2] & 0x1f)];
    let payload = bytes(payload);
    let message = [b"\x84\x6aSignature1", header, b"\x40", &payload].concat();
    [b"\xd2\x84", header, b"\xa0", &payload, &bytes(&raw.sign(&message).to_bytes())].concat()
}

fn number(n: u64) -> Value {
    Value::from(n)
}

fn entry(entry: Entry) -> Value {
    let ends = number(entry.ends().as_secs());
    Value::Array(match entry {
        Entry::Session { sid, .. } => vec![number(0), Value::Bytes(sid.as_bytes().to_vec()), ends],
        Entry::Subject { hash, up_to, .. } => {
            vec![number(1), Value::Bytes(hash.as_bytes().to_vec()), number(up_to.as_secs()), ends]
        }
        Entry::Key { kid, .. } => vec![number(2), Value::Bytes(kid.as_bytes().to_vec()), ends],
        Entry::All { up_to, .. } => vec![number(3), number(up_to.as_secs()), ends],
        other => panic!("a new kind: {other:?}"),
    })
}

fn session_key(session: &SessionKey) -> Value {
    let key = session.verifying_key();
    Value::Array(vec![
        Value::Bytes(key.id().as_bytes().to_vec()),
        Value::Bytes(key.as_bytes().to_vec()),
        Value::from(key.algorithm().cose()),
        number(session.not_before().as_secs()),
        number(key.retires().unwrap_or(UnixTime::MAX).as_secs()),
    ])
}

fn framing(data: &[u8]) {
    use hallpass::fuzzing::next_part;
    let Ok(Some(length)) = next_part(data) else { return };
    assert!(0 < length && length <= data.len());
    assert_eq!(next_part(&data[..length]), Ok(Some(length)), "what follows does not matter");
    assert_eq!(next_part(&data[..length - 1]), Ok(None), "a part is whole or is not there");
}

fuzz_target!(|data: &[u8]| {
    let Fixture { keys, part: genuine, .. } = &*FIXTURE;
    framing(data);
    assert_eq!(keys.verify_part(data, now()).is_ok(), data == genuine);

    let mut forged = genuine.clone();
    for change in data.chunks_exact(3).take(10) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % forged.len();
        forged[at] = change[2];
    }
    framing(&forged);
    assert_eq!(keys.verify_part(&forged, now()).is_ok(), forged == *genuine);

    let whole = signed(data);
    let Ok(part) = keys.verify_part(&whole, now()) else { return };
    assert_eq!(part.as_bytes(), whole);
    let value: Value = ciborium::from_reader(data).expect("CBOR");
    assert_eq!(spelled(&value), data, "more than one encoding");
    let optional = |label: u64| {
        let pairs = value.as_map().expect("a map");
        pairs.iter().find(|(key, _)| *key == number(label)).map(|(_, value)| value)
    };
    let field = |label: u64| optional(label).expect("the field");
    assert_eq!(*field(8), Value::Array(part.entries().map(entry).collect()));
    assert_eq!(*field(9), Value::Array(part.session_keys().iter().map(session_key).collect()));
    assert_eq!(field(7).as_array().expect("an array")[0], number(part.index()));

    let Ok(Some(feed)) = FeedParts::default().add(part) else { return };
    assert_eq!(*field(1), number(feed.position().epoch));
    assert_eq!(*field(2), number(feed.position().sequence));
    assert_eq!(*field(3), feed.base().map_or(Value::Null, number));
    assert_eq!(*field(4), number(feed.expires_at().as_secs()));
    assert_eq!(*field(6), number(feed.issued_at().as_secs()));
    let lifetimes = feed.lifetimes().map(|lifetimes| {
        let FeedLifetimes { token_max_age, idle_timeout, renew_after, leeway } = lifetimes;
        Value::Array(
            [token_max_age, idle_timeout, renew_after, leeway].map(|time| number(time.as_secs())).into(),
        )
    });
    assert_eq!(optional(10), lifetimes.as_ref());
});
