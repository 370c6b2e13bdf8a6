//! An edge's checks of a correctly signed token: issuer, audience and
//! time, to the second.

use serde_json::json;

use super::{Maker, session};
use crate::support::raw::{Frame, NOW, Pairs, Part, bytes, claims, header, label, map, text, token, uint};
use crate::support::test_keys::TestKey;

/// The end of what [`claims`] makes, and its expiry.
const ENDS: u64 = NOW - 3600 + 43_200;
const EXPIRES: u64 = NOW + 900;

fn signed(claims: &Pairs) -> String {
    token(TestKey::Session, claims)
}

pub(super) fn make() -> Maker {
    let mut m = Maker::under("policy");
    names(&mut m);
    times(&mut m);
    order(&mut m);
    m
}

fn names(m: &mut Maker) {
    let store = signed(&claims().with(label::AUD, text("store")));
    let nobody = signed(&claims());
    let said = session(&json!({ "audience": "store" }));
    m.accepted("aud same", "the audience that is configured", store.clone(), said.clone())
        .audience(Some("store"));
    m.accepted("aud none", "no audience, and none configured", nobody.clone(), session(&json!({})));
    m.refused("aud unexpected", "an audience where none is configured", store.clone(), "wrong_audience");
    m.refused("aud missing", "no audience where one is configured", nobody.clone(), "wrong_audience")
        .audience(Some("store"));
    m.refused("aud other", "another audience", store.clone(), "wrong_audience").audience(Some("bank"));
    m.refused("aud case", "audiences are compared byte for byte", store.clone(), "wrong_audience")
        .audience(Some("Store"));
    m.refused("aud prefix", "the beginning of the audience", store.clone(), "wrong_audience")
        .audience(Some("stor"));
    m.refused("aud longer", "the audience and more", store.clone(), "wrong_audience")
        .audience(Some("store "));
    m.refused(
        "aud empty",
        "an empty audience is not none",
        signed(&claims().with(label::AUD, text(""))),
        "wrong_audience",
    );

    let idp = signed(&claims().with(label::ISS, text("idp")));
    m.accepted("iss same", "the issuer that is configured", idp.clone(), session(&json!({})))
        .issuer(Some("idp"));
    m.refused("iss unexpected", "an issuer where none is configured", idp.clone(), "wrong_issuer");
    m.refused("iss missing", "no issuer where one is configured", nobody, "wrong_issuer").issuer(Some("idp"));
    m.refused("iss other", "another issuer", idp, "wrong_issuer").issuer(Some("evil"));

    let both = signed(&claims().with(label::ISS, text("idp")).with(label::AUD, text("store")));
    m.accepted("iss and aud", "both as configured", both.clone(), said)
        .issuer(Some("idp"))
        .audience(Some("store"));
    m.refused("iss swapped with aud", "the names in each other's place", both.clone(), "wrong_issuer")
        .issuer(Some("store"))
        .audience(Some("idp"));
    m.refused("iss before aud", "both wrong: the issuer is looked at first", both, "wrong_issuer")
        .issuer(Some("x"))
        .audience(Some("y"));
}

fn times(m: &mut Maker) {
    let plain = signed(&claims());
    let good = session(&json!({}));
    for leeway in [0, 5, 60] {
        let name = |what: &str| format!("{what} (leeway {leeway})");
        m.refused(
            &name("iat in the future"),
            "a second before iat less the leeway",
            plain.clone(),
            "not_yet_valid",
        )
        .at(NOW - leeway - 1)
        .leeway(leeway);
        m.accepted(&name("iat now"), "at iat less the leeway", plain.clone(), good.clone())
            .at(NOW - leeway)
            .leeway(leeway);
        m.accepted(&name("exp almost"), "a second before exp plus the leeway", plain.clone(), good.clone())
            .at(EXPIRES + leeway - 1)
            .leeway(leeway);
        m.refused(&name("exp now"), "at exp plus the leeway", plain.clone(), "expired")
            .at(EXPIRES + leeway)
            .leeway(leeway);
        let last = signed(&claims().with(label::IAT, uint(ENDS - 100)).with(label::EXP, uint(ENDS)));
        let last_said = session(&json!({
            "issued_at": "2026-09-22T01:11:40Z",
            "expires_at": "2026-09-22T01:13:20Z",
        }));
        m.accepted(&name("ends almost"), "a second before ends plus the leeway", last.clone(), last_said)
            .at(ENDS + leeway - 1)
            .leeway(leeway);
        m.refused(
            &name("ends now"),
            "at ends plus the leeway; exp is the same and looked at after",
            last,
            "session_ended",
        )
        .at(ENDS + leeway)
        .leeway(leeway);
    }
    m.refused("now zero", "a clock at 1970", plain.clone(), "not_yet_valid").at(0);
    m.refused("now last", "a clock at the end of the year 9999", plain.clone(), "session_ended")
        .at(253_402_300_799);
    m.refused("expired long ago", "expired, and the session goes on", plain, "expired").at(EXPIRES + 3600);
    let eternal = {
        let part = Part { ends: uint(253_402_300_799), ..Part::default() };
        signed(&claims().with(label::EXP, uint(253_402_300_799)).with(label::SESSION, part.encode()))
    };
    m.refused("ends last, now last", "no token outlives the last second", eternal, "session_ended")
        .at(253_402_300_799);
    m.refused(
        "iat last",
        "from the far future",
        {
            let last = 253_402_300_799;
            let part = Part { ends: uint(last), ..Part::default() };
            signed(
                &claims()
                    .with(label::IAT, uint(last - 1))
                    .with(label::EXP, uint(last))
                    .with(label::SESSION, part.encode()),
            )
        },
        "not_yet_valid",
    );
}

fn order(m: &mut Maker) {
    let expired = claims().with(label::AUD, text("store"));
    m.refused("aud before exp", "wrong audience and expired", signed(&expired), "wrong_audience")
        .at(ENDS + 100);
    m.refused(
        "signature before aud",
        "bad signature and wrong audience",
        {
            let mut frame = Frame::new(&header(TestKey::Session).encode(), &expired.encode());
            frame.signature_item = Some(bytes(&[9; 64]));
            frame.token(TestKey::Session)
        },
        "bad_signature",
    );
    let bound = claims().with(label::CNF, map(&[(uint(5), bytes(&[0xcf; 32]))]));
    m.refused("bound", "bound to a key (cnf), and no proof of it is given", signed(&bound), "proof_required");
    m.refused("exp before proof", "bound and expired", signed(&bound), "expired").at(EXPIRES + 5);
}
