use std::time::Duration;

use super::error::Invalid;
use super::reader::Reader;
use super::section::Scalar;
use super::{path, raw};
use crate::replicate::ReplicaOptions;
use crate::store::{Location, S3Location, Secret};

const SYNC_INTERVAL: Duration = Duration::from_secs(1);
const RETENTION: Duration = Duration::from_hours(24);
const RETENTION_CHECK_INTERVAL: Duration = Duration::from_hours(1);

/// The S3 credentials that a section names.
#[derive(Clone)]
pub(super) struct Keys {
    id: Option<String>,
    secret: Option<String>,
}

impl Keys {
    pub(super) fn read(
        reader: &Reader,
        id: Option<Scalar>,
        secret: Option<Scalar>,
    ) -> Result<Self, Invalid> {
        let id = reader.text("access-key-id", id)?;
        let secret = reader.secret("secret-access-key", secret)?;
        Ok(Self { id, secret })
    }

    fn any(&self) -> bool {
        self.id.is_some() || self.secret.is_some()
    }

    /// These keys, with missing ones taken from `others`.
    fn or(self, others: &Self) -> Result<Self, Invalid> {
        let id = self.id.or_else(|| others.id.clone());
        let secret = self.secret.or_else(|| others.secret.clone());
        match (&id, &secret) {
            (Some(_), None) => Err(Invalid::whole("`access-key-id` without `secret-access-key`")),
            (None, Some(_)) => Err(Invalid::whole("`secret-access-key` without `access-key-id`")),
            _ => Ok(Self { id, secret }),
        }
    }
}

/// What a replica says about where it is.
struct Place {
    url: Option<String>,
    path: Option<String>,
    bucket: Option<String>,
    endpoint: Option<String>,
    region: Option<String>,
    force_path_style: Option<bool>,
    skip_verify: Option<bool>,
    keys: Keys,
}

impl raw::Replica {
    pub(super) fn validate(self, reader: &Reader, keys: &Keys) -> Result<ReplicaOptions, Invalid> {
        self.refuse_what_is_not_supported()?;
        let kind = reader.text("type", self.kind)?;
        let place = Place {
            url: reader.text("url", self.url)?,
            path: reader.text("path", self.path)?,
            bucket: reader.text("bucket", self.bucket)?,
            endpoint: reader.text("endpoint", self.endpoint)?,
            region: reader.text("region", self.region)?,
            force_path_style: reader.switch("force-path-style", self.force_path_style)?,
            skip_verify: reader.switch("skip-verify", self.skip_verify)?,
            keys: Keys::read(reader, self.access_key_id, self.secret_access_key)?,
        };
        let location = place.location(kind.as_deref(), keys)?;
        let zero = Duration::ZERO;
        Ok(ReplicaOptions {
            name: reader.text("name", self.name)?.unwrap_or_else(|| location.kind().to_owned()),
            location,
            sync_interval: reader.interval("sync-interval", self.sync_interval, SYNC_INTERVAL)?,
            retention: reader.duration("retention", self.retention, RETENTION)?,
            retention_check_interval: reader.interval(
                "retention-check-interval",
                self.retention_check_interval,
                RETENTION_CHECK_INTERVAL,
            )?,
            snapshot_interval: reader.duration(
                "snapshot-interval",
                self.snapshot_interval,
                zero,
            )?,
            validation_interval: reader.duration(
                "validation-interval",
                self.validation_interval,
                zero,
            )?,
        })
    }

    /// Ignoring `age` would store plaintext where encryption was asked for.
    fn refuse_what_is_not_supported(&self) -> Result<(), Invalid> {
        if self.age.is_some() {
            let message = "encryption with `age` is not supported, and nothing is written \
                           unencrypted where it is asked for; remove `age` to go without";
            return Err(Invalid::new("age", message));
        }
        let others = [
            ("account-key", "abs", self.account_key.is_some()),
            ("account-name", "abs", self.account_name.is_some()),
            ("host", "sftp", self.host.is_some()),
            ("key-path", "sftp", self.key_path.is_some()),
            ("password", "sftp", self.password.is_some()),
            ("user", "sftp", self.user.is_some()),
        ];
        match others.iter().find(|(_, _, present)| *present) {
            Some((key, kind, _)) => Err(Invalid::new(
                key,
                format!("`{key}` is for {kind} replicas; supported are s3 and file"),
            )),
            None => Ok(()),
        }
    }
}

impl Place {
    fn location(self, kind: Option<&str>, keys: &Keys) -> Result<Location, Invalid> {
        match self.url.clone() {
            Some(url) => self.at_url(&url, keys),
            None => match kind {
                None | Some("file") => self.file(),
                Some("s3") => self.s3(S3Location::default(), keys),
                Some(kind) => Err(unsupported("type", kind)),
            },
        }
    }

    fn at_url(self, url: &str, keys: &Keys) -> Result<Location, Invalid> {
        let Some((scheme, _)) = url.split_once(':') else {
            return Err(Invalid::new("url", scheme_required(url)));
        };
        if !["s3", "file"].contains(&scheme) {
            return Err(unsupported("url", scheme));
        }
        for (key, value) in [("path", &self.path), ("bucket", &self.bucket)] {
            if value.is_some() {
                let message = format!("cannot specify url & {key} for {scheme} replica");
                return Err(Invalid::new(key, message));
            }
        }
        let refused = |error| Invalid::new("url", format!("`url`: {error}"));
        match Location::parse_url(url).map_err(refused)? {
            Location::S3(place) => self.s3(place, keys),
            place @ Location::File(_) => self.refuse_keys_of_s3().map(|()| place),
        }
    }

    fn file(self) -> Result<Location, Invalid> {
        self.refuse_keys_of_s3()?;
        let path = self.path.ok_or_else(|| Invalid::whole("file replica path required"))?;
        refuse_url(&path)?;
        path::absolute(&path).map(Location::File).map_err(|message| Invalid::new("path", message))
    }

    /// A forgotten `type: s3` would otherwise create a directory named like the prefix.
    fn refuse_keys_of_s3(&self) -> Result<(), Invalid> {
        let present = [
            ("bucket", self.bucket.is_some()),
            ("endpoint", self.endpoint.is_some()),
            ("region", self.region.is_some()),
            ("force-path-style", self.force_path_style.is_some()),
            ("skip-verify", self.skip_verify.is_some()),
            ("access-key-id", self.keys.any()),
        ];
        match present.iter().find(|(_, present)| *present) {
            Some((key, _)) => {
                let message = format!("`{key}` in a file replica; is `type: s3` missing?");
                Err(Invalid::new(key, message))
            }
            None => Ok(()),
        }
    }

    /// The location that the keys of the section name. What they leave out is taken from `place`.
    fn s3(self, place: S3Location, keys: &Keys) -> Result<Location, Invalid> {
        let prefix = match self.path {
            Some(path) => prefix(&path)?,
            None => place.prefix,
        };
        let bucket = self.bucket.unwrap_or(place.bucket);
        if bucket.is_empty() {
            return Err(Invalid::whole("bucket required for s3 replica"));
        }
        if bucket.contains(|letter: char| matches!(letter, '/' | ':') || letter.is_whitespace()) {
            let message = format!(
                "`bucket`: {bucket:?} is no name of a bucket; write `bucket: NAME` and \
                 `path: PREFIX`, or `url: s3://NAME/PREFIX`"
            );
            return Err(Invalid::new("bucket", message));
        }
        let keys = self.keys.or(keys)?;
        Ok(Location::S3(S3Location {
            bucket,
            prefix,
            endpoint: self.endpoint.or(place.endpoint),
            region: self.region.or(place.region),
            force_path_style: self.force_path_style.or(place.force_path_style),
            skip_verify: self.skip_verify.unwrap_or(place.skip_verify),
            access_key_id: keys.id,
            secret_access_key: keys.secret.map(Secret::new),
        }))
    }
}

/// An error message that shows what a URL looks like.
pub fn scheme_required(text: &str) -> String {
    let example = if text.starts_with('/') {
        format!("file://{text}")
    } else {
        "s3://bucket/path".to_owned()
    };
    format!("replica url scheme required: {text}; write a URL such as {example}")
}

fn unsupported(key: &'static str, kind: &str) -> Invalid {
    let message = match kind {
        "gcs" | "abs" | "sftp" => format!("{kind} replicas are not supported here"),
        _ => format!("unknown replica type {kind:?}"),
    };
    Invalid::new(key, message + "; supported are s3 and file")
}

fn refuse_url(path: &str) -> Result<(), Invalid> {
    match path.split_once("://") {
        Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            let message =
                format!("replica path cannot be a url, please use the 'url' field instead: {path}");
            Err(Invalid::new("path", message))
        }
        _ => Ok(()),
    }
}

/// The prefix of the object keys. Litestream keeps a leading slash from the configuration.
fn prefix(path: &str) -> Result<String, Invalid> {
    refuse_url(path)?;
    let prefix = S3Location::clean_prefix(path);
    if prefix == "/" {
        let message = "`path`: \"/\" is no place in a bucket; leave it out for its root";
        return Err(Invalid::new("path", message));
    }
    Ok(prefix)
}
