use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use super::{Process, Site, eventually};

/// What a daemon serves over HTTP, which its configuration must ask for with [`Site::serve`].
impl Process {
    /// The status and the content of an answer.
    pub(crate) fn ask(&self, path: &str) -> (u16, String) {
        let log = self.log();
        let (_, url) = log.split_once("url=http://").unwrap();
        let (address, _) = url.split_once("/metrics").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, content) = answer.split_once("\r\n\r\n").unwrap();
        let (_, status) = head.split_once(' ').unwrap();
        (status[..3].parse().unwrap(), content.to_owned())
    }

    /// The value of a metric of the one database.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.ask("/metrics");
        let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
        line.unwrap().rsplit_once(' ').unwrap().1.parse().unwrap()
    }
}

impl Site {
    pub(crate) fn serve(&self) {
        self.configure_also("addr: 127.0.0.1:0");
    }

    /// Waits until the daemon has looked at all that has been written to the log, whether or not
    /// it had anything to do with it.
    pub(crate) fn wait_for_look(&self, daemon: &Process) {
        let written = fs::metadata(self.path("app.db-wal")).unwrap().modified().unwrap();
        eventually("a look at the log", || {
            let since = Duration::from_secs_f64(daemon.metric("litestream_db_looked_at_seconds"));
            written < SystemTime::UNIX_EPOCH + since
        });
    }
}
