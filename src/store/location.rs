use std::fmt;
use std::path::PathBuf;

/// Where a replica is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A directory, as an absolute path.
    File(PathBuf),
    S3(S3Location),
}

/// A prefix in a bucket, and how to access it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Location {
    pub bucket: String,
    /// What every key begins with, without a slash at its end. May be empty.
    pub prefix: String,
    /// The server: `None` for AWS. Without a scheme, https is used.
    pub endpoint: Option<String>,
    /// The region. `None`: what the environment says; else `us-east-1` with an endpoint; else it
    /// is looked up.
    pub region: Option<String>,
    /// Whether to use path style. `None`: exactly when there is an endpoint.
    pub force_path_style: Option<bool>,
    /// Whether to accept any TLS certificate.
    pub skip_verify: bool,
    /// Both keys are set, or neither. Without them, the credentials that the AWS tools find in the
    /// environment are used.
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<Secret>,
}

impl Location {
    /// The server, or `None` if it is AWS, or if there may be a password in its URL.
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Self::File(_) => None,
            Self::S3(place) => place.endpoint.as_deref().filter(|endpoint| !endpoint.contains('@')),
        }
    }

    /// What the configuration calls its `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::S3(_) => "s3",
        }
    }

    /// Whether it is a directory that is missing or empty, as if its file system were not mounted.
    pub fn may_be_unmounted(&self) -> bool {
        match self {
            Self::File(root) => std::fs::read_dir(root).map_or_else(
                |error| error.kind() == std::io::ErrorKind::NotFound,
                |mut entries| entries.next().is_none(),
            ),
            Self::S3(_) => false,
        }
    }

    /// A place below this one. `path` ends in a slash, as the prefixes of keys do.
    #[must_use]
    pub fn below(&self, path: &str) -> Self {
        let path = path.trim_end_matches('/');
        match self {
            Self::File(root) => Self::File(root.join(path)),
            Self::S3(place) => {
                let prefix = match place.prefix.trim_end_matches('/') {
                    "" => path.to_owned(),
                    prefix => format!("{prefix}/{path}"),
                };
                Self::S3(S3Location { prefix, ..place.clone() })
            }
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(root) => write!(f, "{}", root.display()),
            Self::S3(S3Location { bucket, prefix, .. }) if prefix.is_empty() => {
                write!(f, "s3://{bucket}")
            }
            Self::S3(S3Location { bucket, prefix, .. }) => {
                // Escaped so that the text can be parsed again.
                let prefix = prefix.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
                write!(f, "s3://{bucket}/{prefix}")
            }
        }
    }
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
