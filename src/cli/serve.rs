//! Serves metrics over HTTP.

use std::sync::Arc;

use anyhow::{Context, bail};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tracing::info;

use crate::replicate::{Health, Metrics, ReplicaHealth};

/// Begins to listen at `address`: `HOST:PORT`, or `:PORT` for all interfaces.
pub(super) async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    let listener = match address.strip_prefix(':') {
        Some(port) => match TcpListener::bind(format!("[::]:{port}")).await {
            Ok(listener) => Ok(listener),
            // Not every machine has IPv6.
            Err(_) => TcpListener::bind(format!("0.0.0.0:{port}")).await,
        },
        None if !address.contains(':') => {
            bail!("cannot serve metrics on {address:?}: write HOST:PORT, or :PORT");
        }
        None => TcpListener::bind(address).await,
    };
    listener.with_context(|| {
        format!("cannot serve metrics on {address:?}; is another litestream running?")
    })
}

/// Serves `/metrics` and `/health` until dropped.
pub(super) async fn serve(listener: TcpListener, metrics: Arc<Metrics>) -> anyhow::Result<()> {
    info!(url = format!("http://{}/metrics", listener.local_addr()?), "serving metrics on");
    let health_of = Arc::clone(&metrics);
    let health = move || {
        let metrics = Arc::clone(&health_of);
        async move { health(&metrics) }
    };
    let render = move || {
        let metrics = Arc::clone(&metrics);
        async move { response(&metrics) }
    };
    let router = Router::new().route("/metrics", get(render)).route("/health", get(health));
    axum::serve(listener, router).await?;
    Ok(())
}

/// A line of JSON for each replica, with the reason and the last error if it is not good. The
/// status is 503 while one of them is failing.
fn health(metrics: &Metrics) -> Response {
    let found = metrics.health();
    let failing = found.iter().any(|found| found.health == Health::Failing);
    let status = if failing { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let lines: Vec<String> = found.iter().map(line).collect();
    (status, [(header::CONTENT_TYPE, "application/jsonl")], lines.concat()).into_response()
}

fn line(ReplicaHealth { database, name, health, reason, error }: &ReplicaHealth) -> String {
    let mut line = json!({"db": database, "health": health.to_string()});
    if !name.is_empty() {
        line["replica"] = json!(name);
    }
    if let Some(reason) = reason {
        line["reason"] = json!(reason);
    }
    if let Some(error) = error {
        line["error"] = json!(error);
    }
    format!("{line}\n")
}

fn response(metrics: &Metrics) -> Response {
    match metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use crate::replicate::Validity;

    async fn ask(port: u16, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn serves_metrics_and_health_and_nothing_else() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let database = metrics.database(std::path::Path::new("/db"));
        database.db_size.set(7);
        database.replica("s3").validated(Validity::Restorable);
        let listener = listen("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ask = async {
            (ask(port, "/metrics").await, ask(port, "/health").await, ask(port, "/").await)
        };
        let (found, health, other) = tokio::select! {
            answers = ask => answers,
            served = serve(listener, metrics) => panic!("{served:?}"),
        };
        assert!(found.starts_with("HTTP/1.1 200 OK\r\n"), "{found}");
        assert!(found.contains("\nlitestream_db_size{db=\"/db\"} 7\n"), "{found}");
        assert!(health.starts_with("HTTP/1.1 200 OK\r\n"), "{health}");
        assert!(health.contains(r#"{"db":"/db","health":"good","replica":"s3"}"#), "{health}");
        assert!(other.starts_with("HTTP/1.1 404 "), "{other}");
    }

    #[tokio::test]
    async fn an_address_without_a_port_is_an_error_that_says_so() {
        let error = listen("9090").await.unwrap_err().to_string();
        assert!(error.contains("HOST:PORT"), "{error}");
    }

    #[tokio::test]
    async fn an_address_in_use_is_an_error_that_names_it() {
        let listener = listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let error = listen(&address).await.unwrap_err();
        let expected =
            format!("cannot serve metrics on {address:?}; is another litestream running?");
        assert_eq!(error.to_string(), expected);
    }
}
