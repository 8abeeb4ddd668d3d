//! What single parts of a restore and of a snapshot cost.

use std::fs::File;
use std::io::{Read, Write, copy};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use litestream::format::lz4;

use super::seaweed::Bucket;
use super::server;

/// The same work done by shell tools if they are installed, and otherwise by our own code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Baseline {
    pub time: Duration,
    pub by: &'static str,
}

/// Downloads a snapshot and writes the database that is in it, durably.
pub(crate) fn download(bucket: &Bucket, key: &str, output: &Path) -> Baseline {
    if has("curl") && has("lz4") {
        let script = format!(
            "curl -sf {} {} | lz4 -dc >{out} && sync {out}",
            keys(bucket),
            url(bucket, key),
            out = output.display()
        );
        return shell(&script, "curl | lz4 -dc, sync");
    }
    let began = Instant::now();
    server::read(bucket, key, &mut |source| decode_to(source, output));
    Baseline { time: began.elapsed(), by: "HTTP GET, lz4_flex, fsync" }
}

/// Writes the database that is in a snapshot of a directory, durably.
pub(crate) fn decode(snapshot: &Path, output: &Path) -> Baseline {
    if has("lz4") {
        let (snapshot, output) = (snapshot.display(), output.display());
        return shell(&format!("lz4 -dc {snapshot} >{output} && sync {output}"), "lz4 -dc, sync");
    }
    let began = Instant::now();
    decode_to(&mut File::open(snapshot).unwrap(), output);
    Baseline { time: began.elapsed(), by: "lz4_flex, fsync" }
}

/// Uploads a file. `None` if there is no tool for it.
pub(crate) fn upload(file: &Path, bucket: &Bucket) -> Option<Baseline> {
    let script = format!("curl -sf {} -T {} {}", keys(bucket), file.display(), url(bucket, "bare"));
    has("curl").then(|| shell(&script, "curl -T of its LZ4"))
}

/// Compresses a file as a snapshot is, and returns the compressed size in bytes.
pub(crate) fn encode(file: &Path, output: &Path) -> u64 {
    let mut source = File::open(file).unwrap();
    let size = source.metadata().unwrap().len();
    let mut encoder = lz4::Encoder::new(File::create(output).unwrap(), size);
    copy(&mut source, &mut encoder).unwrap();
    encoder.finish().unwrap().metadata().unwrap().len()
}

fn decode_to(source: &mut dyn Read, output: &Path) {
    let mut output = File::create(output).unwrap();
    copy(&mut lz4::Decoder::new(source), &mut output).unwrap();
    output.flush().unwrap();
    output.sync_all().unwrap();
}

fn keys(bucket: &Bucket) -> String {
    let Bucket { access_key_id, secret_access_key, .. } = bucket;
    format!("--aws-sigv4 aws:amz:us-east-1:s3 --user {access_key_id}:{secret_access_key}")
}

fn url(bucket: &Bucket, key: &str) -> String {
    format!("{}/{}/{key}", bucket.endpoint, bucket.name)
}

fn has(tool: &str) -> bool {
    let mut version = Command::new(tool);
    let version = version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}

fn shell(script: &str, by: &'static str) -> Baseline {
    let began = Instant::now();
    let status = Command::new("/bin/sh").args(["-c", script]).status().unwrap();
    assert!(status.success(), "{script}");
    Baseline { time: began.elapsed(), by }
}
