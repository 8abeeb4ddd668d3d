use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::gate::Gate;
use super::line::Line;

const BUFFER_BYTES: usize = 64 << 10;

/// Serves one connection until it ends, or until the line cuts it.
pub(super) async fn serve(mut stream: TcpStream, gate: Arc<Gate>, line: watch::Receiver<Line>) {
    let (ours, theirs) = duplex(BUFFER_BYTES);
    let http = tokio::spawn(async move {
        let service = service_fn(|request| {
            let gate = Arc::clone(&gate);
            // A request that has begun is completed, whether or not the client still waits.
            let passing = tokio::spawn(async move { gate.pass(request).await });
            async { passing.await.unwrap() }
        });
        http1::Builder::new().serve_connection(TokioIo::new(theirs), service).await.ok();
    });
    if carry(&mut stream, ours, line).await.is_err() {
        stream.set_zero_linger().ok();
    }
    drop(stream);
    http.await.ok();
}

/// Carries bytes both ways. An error means that the connection must be reset.
async fn carry(
    stream: &mut TcpStream,
    ours: DuplexStream,
    line: watch::Receiver<Line>,
) -> io::Result<()> {
    let (from_client, to_client) = stream.split();
    let (from_server, to_server) = tokio::io::split(ours);
    let requests = pump(from_client, to_server, line.clone(), |line| match line {
        Line::ResetsRequests(bytes) => Some(bytes),
        _ => None,
    });
    let answers = pump(from_server, to_client, line.clone(), |line| match line {
        Line::ResetsAnswers(bytes) => Some(bytes),
        _ => None,
    });
    let mut refused = line;
    tokio::select! {
        // When the answers end, so does the connection; when the requests end, answers may still
        // come.
        outcome = answers => outcome,
        outcome = async {
            requests.await?;
            std::future::pending::<io::Result<Infallible>>().await
        } => outcome.map(|_| ()),
        _ = refused.wait_for(|line| *line == Line::Refuses) => Err(reset()),
    }
}

/// Carries bytes one way, as the line allows. `limit` says after how many bytes it is reset.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut line: watch::Receiver<Line>,
    limit: impl Fn(Line) -> Option<usize>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut passed = 0;
    loop {
        let most = match *line.borrow() {
            Line::Slow(rate) => (rate as usize / 10).clamp(1, BUFFER_BYTES),
            _ => BUFFER_BYTES,
        };
        let length = from.read(&mut buffer[..most]).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        let state = *line.wait_for(|line| *line != Line::Hangs).await.map_err(|_| reset())?;
        let left = limit(state).map(|limit| limit.saturating_sub(passed));
        let carried = left.unwrap_or(length).min(length);
        to.write_all(&buffer[..carried]).await?;
        if carried < length || left == Some(0) {
            return Err(reset());
        }
        passed = if left.is_some() { passed + length } else { 0 };
        if let Line::Slow(rate) = state {
            let length = u32::try_from(length).unwrap();
            tokio::time::sleep(Duration::from_secs(1) * length / rate.max(1)).await;
        }
    }
}

fn reset() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionReset)
}
