//! An HTTP server that answers as a test tells it to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Serves until the process ends.
pub(crate) struct Server {
    pub endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `answer` gets the request line and gives a status and a body.
    pub(crate) fn start(answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                thread::spawn(move || serve(&stream, &seen, &*answer));
            }
        });
        Self { endpoint, requests }
    }

    /// The request lines so far, without the version.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Answers one request, and closes the connection.
fn serve(stream: &TcpStream, seen: &Mutex<Vec<String>>, answer: &dyn Fn(&str) -> (u16, String)) {
    let mut reader = BufReader::new(stream);
    let mut lines = reader.by_ref().lines().map_while(Result::ok).take_while(|l| !l.is_empty());
    let Some(line) = lines.next() else { return };
    let request = line.trim_end_matches(" HTTP/1.1").to_owned();
    let length = lines
        .filter_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
        .last()
        .unwrap_or(0);
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).ok();
    seen.lock().unwrap().push(request.clone());
    let (status, body) = answer(&request);
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    let mut stream = stream;
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).ok();
}
