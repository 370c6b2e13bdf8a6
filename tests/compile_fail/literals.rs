//! A type of a later stage is made by passing the stage before, not by writing
//! it down.

use hallpass::{KeySet, Session, UnverifiedToken, VerifiedToken};

fn main() {
    let _ = UnverifiedToken {}; //~ private fields
    let _ = VerifiedToken {}; //~ private fields
    let _: Session = Session {}; //~ private fields
    let _ = KeySet {}; //~ private fields
}
