use litestream::config::Config;
use litestream::store::{Location, S3Location};

/// The URL of a replica, and what a command makes of it.
pub fn url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Location::parse_url(text) {
        Ok(Location::File(root)) => assert!(root.is_absolute()),
        Ok(Location::S3(S3Location { bucket, prefix, .. })) => {
            assert!(!bucket.is_empty());
            assert!(!prefix.starts_with('/') && !prefix.ends_with('/'));
            assert_eq!(S3Location::clean_prefix(&prefix), prefix);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let _ = Config::of_database("/tmp/app.db", &[text.to_owned()]);
}
