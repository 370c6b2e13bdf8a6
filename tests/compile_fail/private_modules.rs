//! The layers below are not for outside.

use hallpass::policy::Policy; //~ E0603
use hallpass::session::Session; //~ E0603
use hallpass::verify::VerifiedToken; //~ E0603
use hallpass::wire::claims::Claims; //~ E0603

fn main() {}
