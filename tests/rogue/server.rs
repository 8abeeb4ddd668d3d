use std::fmt;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use hyper::body::Bytes;
use litestream::store::{S3Location, Secret};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use super::connection::serve;
use super::gate::Gate;
use super::habits::Habits;
use super::line::Line;
use super::request::{Kind, Request};
use super::rules::Rule;

/// The only bucket.
pub(crate) const BUCKET: &str = "bucket";

/// The credentials that the tests use anyway.
pub(super) const ACCESS_KEY_ID: &str = "test";
pub(super) const SECRET_ACCESS_KEY: &str = "test";

const BACKLOG: u32 = 128;

/// An S3 server in a thread of this process, which misbehaves on demand.
pub(crate) struct Rogue {
    address: SocketAddr,
    gate: Arc<Gate>,
    /// The state of the line, or `None` to stop the server.
    line: Option<watch::Sender<Line>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Rogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rogue").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Rogue {
    pub(crate) fn start() -> Self {
        Self::with_seed(0)
    }

    /// Starts a server. `seed` determines which requests are struck by rules that strike only
    /// sometimes.
    pub(crate) fn with_seed(seed: u64) -> Self {
        let gate = Arc::new(Gate::new(seed));
        let (line, state) = watch::channel(Line::Good);
        let (sender, receiver) = mpsc::channel();
        let served = Arc::clone(&gate);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(listen(&served, state, &sender));
        });
        let address = receiver.recv().unwrap();
        Self { address, gate, line: Some(line), thread: Some(thread) }
    }

    /// The address of the server, as in a configuration.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn location(&self, prefix: &str) -> S3Location {
        S3Location {
            bucket: BUCKET.to_owned(),
            prefix: prefix.to_owned(),
            endpoint: Some(self.endpoint()),
            region: Some("us-east-1".to_owned()),
            access_key_id: Some(ACCESS_KEY_ID.to_owned()),
            secret_access_key: Some(Secret::new(SECRET_ACCESS_KEY)),
            ..S3Location::default()
        }
    }

    /// Adds a rule that makes requests go wrong. Earlier rules come first.
    pub(crate) fn misbehave(&self, rule: impl Into<Rule>) {
        self.gate.rules.lock().unwrap().add(rule.into());
    }

    pub(crate) fn set_line(&self, line: Line) {
        self.line.as_ref().unwrap().send_replace(line);
    }

    pub(crate) fn set_habits(&self, habits: Habits) {
        self.gate.contents.lock().unwrap().habits = habits;
    }

    /// From now on the store behaves well.
    pub(crate) fn behave(&self) {
        self.gate.rules.lock().unwrap().clear();
        self.set_habits(Habits::default());
        self.set_line(Line::Good);
    }

    /// How many requests were struck by a rule.
    pub(crate) fn struck(&self) -> u32 {
        self.gate.rules.lock().unwrap().struck()
    }

    /// All requests so far whose heads and bodies have arrived.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.gate.seen.lock().unwrap().clone()
    }

    /// How many requests of one kind have arrived.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.requests().iter().filter(|request| request.kind == kind).count()
    }

    /// The names of all objects, listed or not.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.gate.contents.lock().unwrap().all().map(|(key, _)| key.to_owned()).collect()
    }

    pub(crate) fn object(&self, key: &str) -> Option<Bytes> {
        self.gate.contents.lock().unwrap().get(key).map(|object| object.bytes.clone())
    }

    /// Stores an object directly, unaffected by rules.
    pub(crate) fn store(&self, key: &str, bytes: Bytes) {
        self.gate.contents.lock().unwrap().put(key, bytes, false).unwrap();
    }

    /// Gives all objects other times.
    pub(crate) fn set_times(&self, time: impl Fn(SystemTime) -> SystemTime) {
        self.gate.contents.lock().unwrap().set_times(time);
    }

    /// The number of multipart uploads that were neither completed nor aborted.
    pub(crate) fn uploads(&self) -> usize {
        self.gate.contents.lock().unwrap().uploads()
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        drop(self.line.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Serves until the other end of `line` is dropped.
async fn listen(gate: &Arc<Gate>, line: watch::Receiver<Line>, address: &mpsc::Sender<SocketAddr>) {
    // This socket never listens, and only keeps the port while connections are refused.
    let keeper = socket(SocketAddr::from(([127, 0, 0, 1], 0)));
    let local = keeper.local_addr().unwrap();
    let mut listener = Some(open(local));
    address.send(local).unwrap();
    let mut changes = line.clone();
    loop {
        let refuses = *changes.borrow_and_update() == Line::Refuses;
        match (&listener, refuses) {
            (Some(_), true) => listener = None,
            (None, false) => listener = Some(open(local)),
            _ => (),
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            accepted = accept(listener.as_ref()) => if let Ok((stream, _)) = accepted {
                tokio::spawn(serve(stream, Arc::clone(gate), line.clone()));
            },
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => pending().await,
    }
}

fn open(address: SocketAddr) -> TcpListener {
    socket(address).listen(BACKLOG).unwrap()
}

/// A socket that shares its port with others of this process.
fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}
