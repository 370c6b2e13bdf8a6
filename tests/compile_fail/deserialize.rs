//! Nothing trusted can be deserialized: whoever could write the bytes could
//! forge it.

use hallpass::{IssuedToken, KeySet, Session, SigningKey, UnverifiedToken, VerifiedToken};

fn from_json<T: serde::de::DeserializeOwned>() -> T {
    serde_json::from_str("{}").unwrap()
}

fn main() {
    from_json::<UnverifiedToken>(); //~ E0277
    from_json::<VerifiedToken>(); //~ E0277
    from_json::<Session>(); //~ E0277
    from_json::<IssuedToken>(); //~ E0277
    from_json::<KeySet>(); //~ E0277
    from_json::<SigningKey>(); //~ E0277
}
