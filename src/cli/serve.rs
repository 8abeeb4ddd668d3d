//! Metrics over HTTP.

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tracing::info;

use crate::replicate::Metrics;

/// Begins to listen at `address`: `HOST:PORT`, or `:PORT` for all interfaces.
pub(super) async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    let listener = match address.strip_prefix(':') {
        Some(port) => match TcpListener::bind(format!("[::]:{port}")).await {
            Ok(listener) => Ok(listener),
            // Not every machine has IPv6.
            Err(_) => TcpListener::bind(format!("0.0.0.0:{port}")).await,
        },
        None => TcpListener::bind(address).await,
    };
    listener.with_context(|| format!("cannot serve metrics on {address:?}"))
}

/// Serves `/metrics` until dropped.
pub(super) async fn serve(listener: TcpListener, metrics: Arc<Metrics>) -> anyhow::Result<()> {
    info!(url = format!("http://{}/metrics", listener.local_addr()?), "serving metrics on");
    let render = move || {
        let metrics = metrics.clone();
        async move { response(&metrics) }
    };
    axum::serve(listener, Router::new().route("/metrics", get(render))).await?;
    Ok(())
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

    async fn ask(port: u16, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn serves_metrics_and_nothing_else() {
        let metrics = Arc::new(Metrics::new().unwrap());
        metrics.database(std::path::Path::new("/db")).db_size.set(7);
        let listener = listen("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ask = async { (ask(port, "/metrics").await, ask(port, "/").await) };
        let (found, other) = tokio::select! {
            answers = ask => answers,
            served = serve(listener, metrics) => panic!("{served:?}"),
        };
        assert!(found.starts_with("HTTP/1.1 200 OK\r\n"), "{found}");
        assert!(found.contains("\nlitestream_db_size{db=\"/db\"} 7\n"), "{found}");
        assert!(other.starts_with("HTTP/1.1 404 "), "{other}");
    }

    #[tokio::test]
    async fn an_address_in_use_is_an_error_that_names_it() {
        let listener = listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let error = listen(&address).await.unwrap_err();
        assert_eq!(error.to_string(), format!("cannot serve metrics on {address:?}"));
    }
}
