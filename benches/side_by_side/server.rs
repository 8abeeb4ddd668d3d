//! What the S3 server reports about itself, asked so that it does not count as a request.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::seaweed::Bucket;

/// A stored object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Object {
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Changes when the object is stored again.
    pub version: String,
}

/// All objects of a bucket below a directory, which ends in `/` or is empty.
pub(crate) fn list(bucket: &Bucket, directory: &str) -> Vec<Object> {
    let root = format!("/buckets/{}/", bucket.name);
    let mut found = Vec::new();
    let mut left = vec![format!("{root}{directory}")];
    while let Some(path) = left.pop() {
        let answer = get(bucket.files_port, "GET", &format!("{path}?limit=1000000"));
        // A missing directory gives an answer without entries.
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
        for entry in answer["Entries"].as_array().into_iter().flatten() {
            let path = entry["FullPath"].as_str().unwrap();
            // This is how Go marks a directory.
            if entry["Mode"].as_u64().unwrap_or(0) & (1 << 31) != 0 {
                // Unfinished uploads are not objects.
                if !path.ends_with("/.uploads") {
                    left.push(format!("{path}/"));
                }
                continue;
            }
            found.push(Object {
                key: path.strip_prefix(&root).unwrap().to_owned(),
                size: entry["FileSize"].as_u64().unwrap_or(0),
                version: format!("{}{}", entry["Mtime"], entry["Crtime"]),
            });
        }
    }
    found.sort();
    found
}

/// How many S3 requests to this bucket were answered: all, or those of one method.
pub(crate) fn requests(bucket: &Bucket, method: Option<&str>) -> u64 {
    let metrics = get(bucket.metrics_port, "GET", "/metrics");
    let metrics = String::from_utf8_lossy(&metrics);
    let bucket = format!("bucket=\"{}\"", bucket.name);
    let counted = metrics.lines().filter(|line| {
        let wanted = method.is_none_or(|method| line.contains(&format!("type=\"{method}\"")));
        line.starts_with("SeaweedFS_s3_request_total{") && line.contains(&bucket) && wanted
    });
    let counts = counted.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    counts.map(|count| count as u64).sum()
}

/// Deletes a bucket with all that it holds.
pub(crate) fn remove(bucket: &Bucket) {
    let path = format!("/buckets/{}?recursive=true&ignoreRecursiveError=true", bucket.name);
    get(bucket.files_port, "DELETE", &path);
}

/// Reads an object into `target` through the server's own interface.
pub(crate) fn read(bucket: &Bucket, key: &str, target: &mut dyn FnMut(&mut dyn Read)) {
    let path = format!("/buckets/{}/{key}", bucket.name);
    target(&mut open(bucket.files_port, "GET", &path));
}

fn get(port: u16, method: &str, path: &str) -> Vec<u8> {
    let mut body = Vec::new();
    open(port, method, path).read_to_end(&mut body).unwrap();
    body
}

/// Sends a request, and returns the body of the answer. In HTTP 1.0 that is all that follows the
/// empty line.
fn open(port: u16, method: &str, path: &str) -> impl Read {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "{method} {path} HTTP/1.0\r\nAccept: application/json\r\n\r\n").unwrap();
    let mut stream = std::io::BufReader::with_capacity(1 << 16, stream);
    let mut line = Vec::new();
    while line != b"\r\n" {
        line.clear();
        if std::io::BufRead::read_until(&mut stream, b'\n', &mut line).unwrap() == 0 {
            break;
        }
    }
    stream
}
