//! `kill -9` of `serve` under load, again and again: what was acknowledged is
//! known after the restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Home, Running, client};

const SERVICE: &str = "0123456789abcdef0123456789abcdef";

/// How often it is killed; `HALLPASS_KILLS` says otherwise.
fn kills() -> usize {
    std::env::var("HALLPASS_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

/// Starts sessions, renews them and logs out of every other, until the service
/// is gone; what was acknowledged: tokens that must live, tokens that must not,
/// and pairs of a token with its successor.
#[derive(Default)]
struct Acknowledged {
    live: Vec<String>,
    ended: Vec<String>,
    renewed: Vec<(String, String)>,
}

async fn load(url: String, done: Arc<AtomicUsize>) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    let client = client();
    loop {
        let start = client.post(format!("{url}/sessions")).bearer_auth(SERVICE);
        let Ok(answer) = start.json(&json!({ "subject": "alice" })).send().await else { break };
        let Ok(answer) = answer.json::<Value>().await else { break };
        let Some(token) = answer["token"].as_str().map(str::to_owned) else { break };
        // Every token is due at once under this configuration.
        let Ok(answer) = client.post(format!("{url}/renew")).bearer_auth(&token).send().await else { break };
        let Ok(answer) = answer.json::<Value>().await else { break };
        let Some(successor) = answer["token"].as_str().map(str::to_owned) else { break };
        acknowledged.renewed.push((token, successor.clone()));
        done.fetch_add(1, Ordering::Relaxed);
        if acknowledged.renewed.len() % 2 == 0 {
            acknowledged.live.push(successor);
            continue;
        }
        match client.post(format!("{url}/logout")).bearer_auth(&successor).send().await {
            Ok(answer) if answer.status() == 204 => acknowledged.ended.push(successor),
            _ => break,
        }
    }
    acknowledged
}

async fn status(serve: &Running, token: &str) -> u16 {
    let answer = client().get(serve.at("/session")).bearer_auth(token).send().await.unwrap();
    answer.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9() {
    let home = Home::new();
    let config = home.write("c.toml", "[lifetimes]\nrenew_after = \"0s\"\nrenewal_grace = \"0s\"\n");
    let serve =
        || home.serve_with(&["--config", config.to_str().unwrap()], &[("HALLPASS_SERVICE_TOKEN", SERVICE)]);
    let mut total = Acknowledged::default();
    let mut seed = 7_u64;
    let mut running = serve();
    for round in 0..kills() {
        let done = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            clients.spawn(load(running.url.clone(), Arc::clone(&done)));
        }
        // Kills it at some moment, but only once it is under load.
        while done.load(Ordering::Relaxed) < 8 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        tokio::time::sleep(Duration::from_micros(seed >> 50)).await;
        running.signal("KILL");
        running.wait();
        let mut lost = Acknowledged::default();
        while let Some(acknowledged) = clients.join_next().await {
            let acknowledged = acknowledged.unwrap();
            lost.live.extend(acknowledged.live);
            lost.ended.extend(acknowledged.ended);
            lost.renewed.extend(acknowledged.renewed);
        }
        running = serve();
        for token in &lost.ended {
            assert_eq!(status(&running, token).await, 401, "round {round}: a log-out was lost");
        }
        for token in &lost.live {
            assert_eq!(status(&running, token).await, 200, "round {round}: a session was lost");
        }
        let ended: Vec<_> = lost.ended.iter().collect();
        for (token, successor) in
            lost.renewed.iter().filter(|(_, successor)| !ended.contains(&successor)).take(3)
        {
            let answer = client().post(running.at("/renew")).bearer_auth(token).send().await.unwrap();
            // A log-out that was never answered may have taken effect.
            if answer.status() == 200 {
                let again: Value = answer.json().await.unwrap();
                assert_eq!(again["token"], json!(successor), "round {round}: a renewal was forgotten");
            }
        }
        total.ended.extend(lost.ended);
        total.live.extend(lost.live);
    }
    // The oldest revocations are still in effect.
    for token in total.ended.iter().step_by(7) {
        assert_eq!(status(&running, token).await, 401);
    }
    assert!(total.ended.len() > kills() && total.live.len() > kills(), "too little happened");
    println!(
        "{} kills, {} log-outs and {} sessions remembered",
        kills(),
        total.ended.len(),
        total.live.len()
    );
}
