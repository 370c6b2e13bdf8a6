//! Fast Ed25519 verification for keys that verify many signatures.
//!
//! Every path accepts exactly what [`VerifyingKey::verify_strict`] accepts, and
//! `tests.rs` holds each against it. Written out, a signature R ‖ s on M by the
//! key A is accepted when
//!
//! 1. s < L (RFC 8032 §5.1.7 step 1; else s + L would be a second signature),
//! 2. A is a point ("decode the public key A as point A'", same step),
//! 3. A is not of small order (such a key signs almost any message),
//! 4. R is not of small order (the check that `verify_strict` adds for R), and
//! 5. R is, byte for byte, the encoding of R' = \[s\]B − \[k\]A with
//!    k = SHA-512(R ‖ A ‖ M) (§5.1.7 steps 2 and 3, the cofactorless equation;
//!    the bytes of R and of A are hashed as they came).
//!
//! `verify_strict` decodes R (a square root) to ask 4. That can be asked of the
//! bytes: by 5 they are an *encoder's* output, and an encoder writes each of the
//! eight points of small order in one way, see [`SMALL_ORDER`]. Nor can the
//! decoding fail where 5 holds. 2 and 3 are of the key alone: [`FixedKey::new`].
//!
//! # The table
//!
//! What remains is R', for which dalek doubles some 253 times. For a key that
//! stays, the doublings can be done once. Write a scalar k < L < 2^253 as
//!
//! > k = Σ dᵢ·256^i,  i = 0..31,  −128 ≤ dᵢ ≤ 127
//!
//! (a byte above 127 becomes byte − 256 and carries one into the next; the last
//! byte of k is at most 16, so nothing is carried out of it). Then
//!
//! > \[k\](−A) = Σ sign(dᵢ)·Tᵢ\[|dᵢ|\]  with  Tᵢ\[d\] = \[d·256^i\](−A),  d = 0..128
//!
//! and \[s\]B likewise from a table of B that all keys share: 64 additions, no
//! doublings. k is used as the integer it is, never reduced again, and dalek's
//! addition is complete, so this holds for an A with a torsion component too.
//! [`VartimeEdwardsPrecomputation`] would not do: it always doubles 256 times.
//!
//! Everything here is public (key, message, signature), so variable time and
//! look-ups by digit leak nothing; nothing here may be used to sign.
//!
//! [`VerifyingKey::verify_strict`]: ed25519_dalek::VerifyingKey::verify_strict
//! [`VartimeEdwardsPrecomputation`]: curve25519_dalek::edwards::VartimeEdwardsPrecomputation

use core::array;
use core::fmt;
use core::hint::black_box;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use sha2::{Digest, Sha512};

#[cfg(test)]
mod tests;

/// Most keys of one set that should get a table: few keys sign at a time, and
/// 660 KB for each key of a long rotation history would only fill the CPU
/// caches.
pub(crate) const TABLES: usize = 8;

/// A public key prepared for many verifications. Clones share its table.
#[derive(Clone)]
pub(crate) struct FixedKey {
    /// The key's bytes as given, which are hashed: a point whose y is under 19
    /// has a second, non-canonical encoding.
    encoding: [u8; 32],
    /// −A.
    negated: EdwardsPoint,
    table: Option<Table>,
}

/// Why 32 bytes are not a usable public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WeakOrInvalid {
    /// No point of the curve has this encoding.
    Invalid,
    /// A point of small order, for which anyone can sign.
    Weak,
}

impl FixedKey {
    /// A key without a table, for few verifications.
    pub(crate) fn new(bytes: &[u8; 32]) -> Result<Self, WeakOrInvalid> {
        let point = CompressedEdwardsY(*bytes).decompress().ok_or(WeakOrInvalid::Invalid)?;
        if point.is_small_order() {
            return Err(WeakOrInvalid::Weak);
        }
        Ok(Self { encoding: *bytes, negated: -point, table: None })
    }

    /// The key's bytes as given.
    pub(crate) const fn encoding(&self) -> &[u8; 32] {
        &self.encoding
    }

    /// The same key with a table of 660 KB, built in about a millisecond, if
    /// that makes it faster with this build on this machine. The caller bounds
    /// how many keys get one: see [`TABLES`].
    pub(crate) fn with_table(self) -> Self {
        if *TABLE_PAYS { self.tabled() } else { self }
    }

    /// The same key with a table, even if that is slower here.
    pub(crate) fn tabled(self) -> Self {
        let table = Some(self.table.unwrap_or_else(|| multiples(self.negated)));
        Self { table, ..self }
    }

    /// Returns whether this key signed `message`, exactly as `verify_strict`
    /// does.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let (r, s) = halves(signature);
        self.expected(message, r, s).is_some_and(|expected| expected.compress().0 == *r)
    }

    /// R', which R must encode; `None` if the signature is invalid for any R'.
    fn expected(&self, message: &[u8], r: &[u8; 32], s: &[u8; 32]) -> Option<EdwardsPoint> {
        let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(*s))?;
        if SMALL_ORDER.contains(r) {
            return None;
        }
        let hash = Sha512::new().chain_update(r).chain_update(self.encoding).chain_update(message);
        let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        Some(self.combine(&k, &s))
    }

    /// \[s\]B − \[k\]A.
    fn combine(&self, k: &Scalar, s: &Scalar) -> EdwardsPoint {
        let Some(table) = &self.table else {
            return EdwardsPoint::vartime_double_scalar_mul_basepoint(k, &self.negated, s);
        };
        let (k, s) = (digits(k), digits(s));
        // Copied out before the first addition: the loads wait for nothing, so
        // cache misses overlap instead of stopping each addition in turn.
        let terms: [EdwardsPoint; 2 * DIGITS] = array::from_fn(|i| {
            let (table, digit) = if i < DIGITS { (table, k[i]) } else { (&*BASE, s[i - DIGITS]) };
            table[i % DIGITS][usize::from(digit.unsigned_abs())]
        });
        let mut sum = EdwardsPoint::default();
        for (term, digit) in terms.iter().zip(k.iter().chain(&s)) {
            if *digit < 0 {
                sum -= term;
            } else {
                sum += term;
            }
        }
        sum
    }
}

impl fmt::Debug for FixedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedKey")
            .field("encoding", &self.encoding)
            .field("table", &self.table.is_some())
            .finish_non_exhaustive()
    }
}

/// [`FixedKey::verify`] for each item, with verdicts in the same order.
///
/// Encoding R' needs a division. Here up to [`BATCH`] signatures share one, and
/// that is all they share: each keeps an equation of its own. (The classical
/// batch verification adds random multiples of the equations up, and would
/// accept sets of signatures with torsion that `verify_strict` refuses.)
///
/// A verdict without an item is `false`; an item without a verdict is ignored.
pub(crate) fn verify_many(items: &[(&FixedKey, &[u8], &[u8; 64])], verdicts: &mut [bool]) {
    verdicts.fill(false);
    for (items, verdicts) in items.chunks(BATCH).zip(verdicts.chunks_mut(BATCH)) {
        // An item without R' keeps the neutral element, which is not used.
        let mut points = [EdwardsPoint::default(); BATCH];
        for ((point, verdict), (key, message, signature)) in points.iter_mut().zip(&mut *verdicts).zip(items)
        {
            let (r, s) = halves(signature);
            if let Some(expected) = key.expected(message, r, s) {
                (*point, *verdict) = (expected, true);
            }
        }
        let encodings = EdwardsPoint::compress_batch(&points);
        for ((verdict, encoding), (_, _, signature)) in verdicts.iter_mut().zip(&encodings).zip(items) {
            *verdict &= encoding.0 == *halves(signature).0;
        }
    }
}

/// Most signatures that share a division. At 32, its cost for each is small,
/// and the points (5 KB) fit the stack.
const BATCH: usize = 32;

/// The one encoding each of the eight points of small order.
///
/// These are the only ones to refuse. R is compared with bytes that an encoder
/// wrote: y reduced modulo p, and a sign that is 0 where x = 0. The six other
/// spellings that a decoder takes (y + p for y = 0, twice, and for y = 1,
/// twice; x = "−0" for y = ±1) are no encoder's output, so they never equal it.
#[rustfmt::skip]
const SMALL_ORDER: [[u8; 32]; 8] = {
    const Y: [u8; 32] = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
        0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ];
    const MINUS_Y: [u8; 32] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
        0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ];
    const fn ends(mut bytes: [u8; 32], first: u8, last: u8) -> [u8; 32] {
        bytes[0] = first;
        bytes[31] = last;
        bytes
    }
    [
        ends([0x00; 32], 1, 0),             // order 1: ( 0, 1)
        ends([0xff; 32], 0xec, 0x7f),       // order 2: ( 0, −1)
        [0; 32], ends([0; 32], 0, 0x80),    // order 4: (±√−1, 0)
        Y, ends(Y, 0x26, 0x85),             // order 8
        MINUS_Y, ends(MINUS_Y, 0xc7, 0xfa), // order 8
    ]
};

/// Digits in a scalar, and rows in a table.
const DIGITS: usize = 32;

/// `table[i][d]` = \[d·256^i\]P. Entry 0 of a row avoids a special case for
/// digit 0.
type Table = Arc<[[EdwardsPoint; 129]]>;

/// The table of the base point, made with the first table of a key.
static BASE: LazyLock<Table> = LazyLock::new(|| multiples(ED25519_BASEPOINT_POINT));

fn multiples(mut point: EdwardsPoint) -> Table {
    let row = |_| {
        let mut next = EdwardsPoint::default();
        let row = array::from_fn(|_| {
            let entry = next;
            next += point;
            entry
        });
        // 256 times the point = twice the row's last.
        point = row[128] + row[128];
        row
    };
    (0..DIGITS).map(row).collect()
}

/// The digits of `scalar` to base 256, −128 to 127 each, lowest first.
fn digits(scalar: &Scalar) -> [i8; DIGITS] {
    let mut carry = 0;
    scalar.to_bytes().map(|byte| {
        let (low, overflow) = byte.overflowing_add(carry);
        let digit = low.cast_signed();
        carry = u8::from(overflow || digit < 0);
        digit
    })
}

/// R and s.
fn halves(signature: &[u8; 64]) -> (&[u8; 32], &[u8; 32]) {
    let (halves, _) = signature.as_chunks();
    (&halves[0], &halves[1])
}

/// Whether the table beats dalek's own double multiplication here, by a third or
/// more (hot, as it is measured, it looks better than between other work).
///
/// Measured once, because the build and the CPU's features don't show it:
/// compared with dalek's AVX-512 code, the table gained nothing on one machine
/// and halved the time on another. The answer affects only speed.
static TABLE_PAYS: LazyLock<bool> = LazyLock::new(|| {
    // wasm has no clock, and no vector code to compete with. A build for
    // fuzzing tests the table.
    if cfg!(any(target_family = "wasm", fuzzing)) {
        return true;
    }
    let scalar = Scalar::from_bytes_mod_order([0xa7; 32]);
    let fastest = |table| {
        let key = FixedKey { encoding: [0; 32], negated: ED25519_BASEPOINT_POINT, table };
        let run = |_| {
            let start = Instant::now();
            black_box(key.combine(black_box(&scalar), &scalar));
            start.elapsed()
        };
        // The shortest of a few: other work on the machine only makes them
        // longer.
        (0..12).map(run).min()
    };
    fastest(Some(Arc::clone(&BASE))).map(|table| table + table / 2) <= fastest(None)
});
