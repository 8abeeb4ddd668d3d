//! Replica URLs, as Litestream 0.3 understands them.

use std::fmt;
use std::path::{self, PathBuf};

use super::{Location, S3Location};

/// Why a text is not the URL of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError(String);

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UrlError {}

impl Location {
    /// Reads `file:///path` and `s3://bucket/prefix`, and the hosts of S3 providers that contain
    /// the bucket: `s3://bucket.s3.region.backblazeb2.com/prefix` and the like.
    ///
    /// In any other host with a port, as in `s3://bucket.minio.example.com:9000`, the first label
    /// is the bucket and the rest the endpoint. Without a port, the whole host is a bucket of AWS,
    /// since bucket names may contain dots. A relative file URL is resolved against the working
    /// directory.
    pub fn parse_url(url: &str) -> Result<Self, UrlError> {
        let Some((scheme, rest)) = url.split_once(':').filter(|(scheme, _)| is_scheme(scheme))
        else {
            return Err(UrlError(format!("{url:?} is not a URL, such as s3://bucket/path")));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "file" => file(url, rest),
            "s3" => s3(url, rest),
            _ => Err(UrlError(format!(
                "replica type {scheme:?} of {url:?} is not supported; supported are s3 and file"
            ))),
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn file(url: &str, rest: &str) -> Result<Location, UrlError> {
    // Litestream takes what looks like a host for the first directory.
    let text = match rest.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path.to_owned(),
        Some(path) if !path.is_empty() => format!("/{path}"),
        Some(_) => String::new(),
        None => rest.to_owned(),
    };
    // A path with a stray `%` was written without escapes.
    let text = percent_decoded(&text).unwrap_or(text);
    if text.is_empty() {
        return Err(UrlError(format!("{url:?} has no path; write file:///path")));
    }
    let root = path::absolute(PathBuf::from(text))
        .map_err(|error| UrlError(format!("cannot make the path of {url:?} absolute: {error}")))?;
    Ok(Location::File(root.components().collect()))
}

fn s3(url: &str, rest: &str) -> Result<Location, UrlError> {
    let rest = rest
        .strip_prefix("//")
        .ok_or_else(|| UrlError(format!("{url:?} has no host; write s3://bucket/path")))?;
    if rest.split('/').next().is_some_and(|authority| authority.contains('@')) {
        // The URL is not repeated: there may be a password in it.
        return Err(UrlError(
            "a URL of a replica has keys in it, which are not taken from there: set access-key-id \
             and secret-access-key, or the variables of the environment"
                .to_owned(),
        ));
    }
    if rest.contains(['?', '#']) {
        return Err(UrlError(format!(
            "{url:?} has a `?` or a `#`; S3 settings go to the configuration, and in a path these \
             are written %3F and %23"
        )));
    }
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let path = percent_decoded(path)
        .ok_or_else(|| UrlError(format!("{url:?} has a `%` with no UTF-8 character after it")))?;
    let prefix = S3Location::clean_prefix(&format!("/{path}"))[1..].to_owned();
    Ok(Location::S3(S3Location { prefix, ..bucket(url, authority)? }))
}

impl S3Location {
    /// Normalizes a path as Go's `path.Clean` does, which determines the keys that Litestream
    /// writes. A leading slash stays; the current directory becomes empty.
    pub fn clean_prefix(path: &str) -> String {
        let rooted = path.starts_with('/');
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => (),
                ".." if parts.last().is_some_and(|last| *last != "..") => {
                    parts.pop();
                }
                ".." if rooted => (),
                part => parts.push(part),
            }
        }
        format!("{}{}", if rooted { "/" } else { "" }, parts.join("/"))
    }
}

/// Hosts below which the first label is the region, and what comes before it is the bucket.
const PROVIDERS: [Provider; 4] = [
    Provider { before_region: "s3.", domain: "backblazeb2.com" },
    Provider { before_region: "", domain: "digitaloceanspaces.com" },
    Provider { before_region: "s3.", domain: "scw.cloud" },
    Provider { before_region: "", domain: "linodeobjects.com" },
];

struct Provider {
    before_region: &'static str,
    domain: &'static str,
}

impl Provider {
    /// Splits `bucket.s3.region.domain` into bucket and region. The bucket may be missing.
    fn split<'a>(&self, host: &'a str) -> Option<(&'a str, &'a str)> {
        let host = host.strip_suffix(self.domain)?.strip_suffix('.')?;
        let (rest, region) = host.rsplit_once('.').unwrap_or(("", host));
        let bucket = match self.before_region.strip_suffix('.') {
            Some(label) => subdomain_of(rest, label)?,
            None => rest,
        };
        (!region.is_empty()).then_some((bucket, region))
    }

    fn endpoint(&self, region: &str) -> String {
        format!("{}{region}.{}", self.before_region, self.domain)
    }
}

/// What comes before `.domain` in `host`. Empty if `host` is the domain itself.
fn subdomain_of<'a>(host: &'a str, domain: &str) -> Option<&'a str> {
    let rest = host.strip_suffix(domain)?;
    if rest.is_empty() { Some("") } else { rest.strip_suffix('.') }
}

fn bucket(url: &str, authority: &str) -> Result<S3Location, UrlError> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(UrlError(format!("{url:?} has a port that is not a number")));
    }
    let place = |scheme: &str, bucket: &str, endpoint: &str, region: Option<&str>| S3Location {
        bucket: bucket.to_owned(),
        endpoint: Some(match port {
            Some(port) => format!("{scheme}://{endpoint}:{port}"),
            None => format!("{scheme}://{endpoint}"),
        }),
        region: region.map(str::to_owned),
        ..S3Location::default()
    };
    let provider = PROVIDERS.iter().find_map(|provider| {
        let (bucket, region) = provider.split(host)?;
        Some(place("https", bucket, &provider.endpoint(region), Some(region)))
    });
    let found = if let Some(found) = provider {
        found
    } else if let Some(bucket) = subdomain_of(host, "localhost") {
        place("http", bucket, "localhost", Some("us-east-1"))
    } else if let Some(bucket) = subdomain_of(host, "s3.filebase.com") {
        place("https", bucket, "s3.filebase.com", None)
    } else if let Some(port) = port {
        let (bucket, endpoint) = host.split_once('.').ok_or_else(|| {
            UrlError(format!(
                "{url:?} has a port but no host; write s3://bucket.host:{port}/path, or set \
                 bucket and endpoint in the configuration"
            ))
        })?;
        place(scheme_for(endpoint, port), bucket, endpoint, None)
    } else {
        S3Location { bucket: host.to_owned(), ..S3Location::default() }
    };
    if found.bucket.is_empty() {
        return Err(UrlError(format!("bucket required for s3 replica, in {url:?}")));
    }
    Ok(found)
}

/// A guess must not send data over a network unencrypted, so it is https except where that cannot
/// be meant.
fn scheme_for(host: &str, port: &str) -> &'static str {
    let loopback = host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    if loopback || port == "80" { "http" } else { "https" }
}

/// Decodes percent escapes. `None` if one is malformed, or the result is not UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => 16 * hex_digit(bytes.next()?)? + hex_digit(bytes.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests;
