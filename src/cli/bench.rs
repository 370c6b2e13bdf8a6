//! `hallpass bench`: measures this machine's verification rate.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::{Failure, duration, print_json};
use crate::id::Subject;
use crate::issuer::{Minter, NewSession};
use crate::key::{Algorithm, KeySet, KeyUse, LiveKeys, SigningKey};
use crate::policy::Lifetimes;
use crate::time::{Clock, SystemClock};
use crate::verifier::Verifier;

#[derive(Args)]
pub(super) struct BenchArgs {
    /// How long to measure each
    #[arg(long, default_value = "2s", value_parser = duration)]
    time: Duration,
}

impl BenchArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let now = SystemClock.now();
        let key = SigningKey::generate(KeyUse::Session, Algorithm::EdDsa)?;
        let minter = Minter::new(Lifetimes::default()).audience(Some("bench".into()));
        let subject = Subject::new("alice")?;
        let new = NewSession {
            subject: &subject,
            claims: &(),
            started: now,
            auth_time: now,
            ends: None,
            amr: &[],
            bound_to: None,
        };
        let tokens: Vec<_> = (0..64).map(|_| minter.start(&key, &new, now)).collect::<Result<_, _>>()?;
        let keys = LiveKeys::from(KeySet::new([key.verifying_key().clone()])?);
        let builder = || Verifier::builder(keys.clone()).audience("bench").without_revocations();
        let (new, seen) = (builder().without_token_cache().build()?, builder().build()?);
        let verify = |verifier: &Verifier, n: usize| {
            let token = tokens[n % tokens.len()].as_str();
            black_box(verifier.verify::<()>(black_box(token), now)).is_ok()
        };
        let cores = thread::available_parallelism()?.get();
        for threads in [1, cores].into_iter().take(if cores > 1 { 2 } else { 1 }) {
            print_json(&json!({
                "threads": threads,
                "verifications_per_second": rate(threads, self.time, &|n| verify(&new, n))?.round(),
                "from_cache_per_second": rate(threads, self.time, &|n| verify(&seen, n))?.round(),
                "token_characters": tokens[0].as_str().len(),
            }))?;
        }
        Ok(())
    }
}

/// Returns how many times a second `threads` threads together do `work`.
fn rate(threads: usize, time: Duration, work: &(impl Fn(usize) -> bool + Sync)) -> Result<f64, Failure> {
    let (stop, done, failed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicBool::new(false));
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut count = 0_usize;
                while !stop.load(Ordering::Relaxed) {
                    if !work(count) {
                        failed.store(true, Ordering::Relaxed);
                    }
                    count += 1;
                }
                done.fetch_add(count as u64, Ordering::Relaxed);
            });
        }
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
    });
    if failed.into_inner() {
        return Err(Failure::Setup("a verification failed; this machine computes wrongly".to_owned()));
    }
    #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
    Ok(done.into_inner() as f64 / started.elapsed().as_secs_f64())
}
