//! TLS by the service itself.

use std::time::Duration;

use super::login::header;
use crate::support::{Home, Running, client};

/// A certificate for localhost, and a client that trusts it and nothing else.
fn certificate() -> (String, String, reqwest::Client) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    client(); // installs the provider
    let trusting = reqwest::Client::builder()
        // Each request shakes hands anew.
        .pool_max_idle_per_host(0)
        .tls_certs_only([reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()])
        .build()
        .unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem(), trusting)
}

fn over_tls(home: &Home, cert: &str, key: &str) -> (Running, String) {
    let (cert, key) = (home.write("cert.pem", cert), home.write("key.pem", key));
    let serve = home.serve(&["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()]);
    assert!(serve.url.starts_with("https://"));
    let url = serve.at("/healthz").replace("127.0.0.1", "localhost");
    (serve, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_by_rustls() {
    let home = Home::new();
    let (cert, key, trusting) = certificate();
    let (_serve, url) = over_tls(&home, &cert, &key);
    let answer = trusting.get(&url).send().await.unwrap();
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    assert!(header(answer.headers(), "strict-transport-security").contains("max-age"));
    assert!(client().get(&url).send().await.is_err(), "an unknown certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
    let home = Home::new();
    let (cert, key, old) = certificate();
    let (mut serve, url) = over_tls(&home, &cert, &key);
    let works = async |client: &reqwest::Client| client.get(&url).send().await.is_ok();
    assert!(works(&old).await);

    // A broken certificate or key changes nothing and is logged.
    let (new_cert, new_key, new) = certificate();
    let half = &new_cert[..new_cert.len() / 2];
    for (n, (cert, key)) in [(&*new_cert, &*key), ("nonsense", &new_key), (half, &new_key), (&new_cert, "")]
        .into_iter()
        .enumerate()
    {
        home.write("cert.pem", cert);
        home.write("key.pem", key);
        serve.signal("HUP");
        while serve.log().matches("the certificate is not taken").count() <= n {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(works(&old).await && !works(&new).await);
    }
    std::fs::remove_file(home.folder().join("key.pem")).unwrap();
    while !serve.log().contains("key.pem: No such file") {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(works(&old).await);

    // A good certificate is loaded automatically.
    home.write("cert.pem", &new_cert);
    home.write("key.pem", &new_key);
    while !works(&new).await {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!works(&old).await);
    // A signal loads it at once.
    let (cert, key, newest) = certificate();
    home.write("cert.pem", &cert);
    home.write("key.pem", &key);
    serve.signal("HUP");
    while !works(&newest).await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!serve.log().contains("PRIVATE KEY"));
    // It is the process that was there before, and it ends as ever.
    serve.signal("TERM");
    assert_eq!(serve.wait(), Some(0));
}
