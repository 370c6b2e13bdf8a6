//! Verifies tokens, one a line, and writes verdicts, one a line, in the same
//! order. Uses every core and constant memory.

use std::io::{self, BufRead, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use serde::Serialize;

use super::Failure;
use crate::error::Rejection;
use crate::session::Session;
use crate::time::{Clock, SystemClock, UnixTime};
use crate::verifier::Verifier;
use crate::wire::text::MAX_TOKEN_CHARS;

/// How many tokens are verified together. Larger batches gain nothing.
const BATCH: usize = 64;

/// How many batches may wait for a worker, and as many answers after it. That
/// is some 20 ms of work, so a worker that loses its core for a while does not
/// stop the others.
const AHEAD: usize = 16;

/// One line of output: a verdict with the session or the facts.
#[derive(Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
enum LineVerdict<'a> {
    Accepted {
        session: &'a Session,
    },
    Refused {
        #[serde(flatten)]
        rejection: &'a Rejection,
    },
}

/// Lines of verdicts, and whether all were accepted.
struct Answer {
    text: Vec<u8>,
    all_accepted: bool,
}

fn answer(tokens: &[Vec<u8>], verifier: &Verifier, at: Option<UnixTime>) -> Answer {
    let now = at.unwrap_or_else(|| SystemClock.now());
    let mut answer = Answer { text: Vec::with_capacity(tokens.len() * 512), all_accepted: true };
    for result in verifier.verify_many(tokens, now) {
        let verdict = match &result {
            Ok(session) => LineVerdict::Accepted { session },
            Err(rejection) => LineVerdict::Refused { rejection },
        };
        answer.all_accepted &= result.is_ok();
        // Writing to a Vec can't fail, and a verdict is always valid JSON.
        let _ = serde_json::to_writer(&mut answer.text, &verdict);
        answer.text.push(b'\n');
    }
    answer
}

/// Verifies one token.
pub(super) fn judge_one(token: &[u8], verifier: &Verifier, at: Option<UnixTime>) -> Result<(), Failure> {
    let Answer { text, all_accepted } = answer(&[token.to_vec()], verifier, at);
    io::stdout().write_all(&text)?;
    if all_accepted { Ok(()) } else { Err(Failure::Refused) }
}

/// Verifies every line of stdin.
pub(super) fn judge_all(verifier: &Verifier, at: Option<UnixTime>) -> Result<(), Failure> {
    let workers = thread::available_parallelism()?.get();
    thread::scope(|scope| {
        // Batch n goes to worker n mod workers, and its answer is fetched from
        // there. This keeps the order and bounds the batches in memory.
        let mut questions = Vec::new();
        let mut answers = Vec::new();
        for _ in 0..workers {
            let (ask, asked) = sync_channel::<Vec<Vec<u8>>>(AHEAD);
            let (reply, replies) = sync_channel(AHEAD);
            scope.spawn(move || {
                for tokens in asked {
                    if reply.send(answer(&tokens, verifier, at)).is_err() {
                        break;
                    }
                }
            });
            questions.push(ask);
            answers.push(replies);
        }
        let reader = scope.spawn(move || read_batches(&questions));
        let all_accepted = write_answers(&answers);
        // The writer has stopped: unblock a reader that waits for a worker.
        drop(answers);
        match (all_accepted?, reader.join()) {
            (_, Ok(Err(error))) => Err(error.into()),
            (_, Err(_)) => Err(Failure::Setup("reading stopped unexpectedly".to_owned())),
            (true, _) => Ok(()),
            (false, _) => Err(Failure::Refused),
        }
    })
}

fn read_batches(questions: &[SyncSender<Vec<Vec<u8>>>]) -> io::Result<()> {
    let mut input = io::BufReader::with_capacity(64 * 1024, io::stdin().lock());
    let mut batch = Vec::with_capacity(BATCH);
    for worker in questions.iter().cycle() {
        let mut more = true;
        while batch.len() < BATCH {
            let mut line = Vec::with_capacity(256);
            more = read(&mut input, &mut line)?;
            if !more {
                break;
            }
            batch.push(line);
            // A client that sends line by line gets each answer before it sends
            // the next token.
            if input.buffer().is_empty() {
                break;
            }
        }
        if worker.send(std::mem::take(&mut batch)).is_err() || !more {
            break;
        }
    }
    Ok(())
}

fn write_answers(answers: &[Receiver<Answer>]) -> Result<bool, Failure> {
    let mut output = io::stdout().lock();
    let mut all_accepted = true;
    for worker in answers.iter().cycle() {
        let Ok(answer) = worker.recv() else { break };
        all_accepted &= answer.all_accepted;
        output.write_all(&answer.text)?;
        output.flush()?;
    }
    Ok(all_accepted)
}

/// Reads a line without its end into `line`; returns false at the end of the
/// input. Of a line too long for a token, it keeps just enough to show that.
pub(super) fn read(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        any = true;
        let (part, used, last) = match buffer.iter().position(|&byte| byte == b'\n') {
            Some(end) => (&buffer[..end], end + 1, true),
            None => (buffer, buffer.len(), false),
        };
        let room = (MAX_TOKEN_CHARS + 2).saturating_sub(line.len());
        line.extend_from_slice(&part[..part.len().min(room)]);
        input.consume(used);
        if last {
            break;
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(any)
}
