use std::env;

use anyhow::anyhow;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Builder, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
};

use super::failure::Operation;
use super::options::S3Options;
use super::{credentials, tls, unverified};
use crate::store::{Result, S3Location, StoreError};

/// Lost connections are replaced at once. Longer retries are left to the callers, which know how
/// long trying is worth it.
const ATTEMPTS: u32 = 2;

const REGION_DEFAULT: &str = "us-east-1";

/// The client for `location`, and the endpoint if it is not that of AWS.
pub(super) async fn connect(
    location: &S3Location,
    options: &S3Options,
) -> Result<(Client, Option<String>)> {
    let http = tls::http_client(options)?;
    let region = match &location.region {
        Some(region) => Some(Region::new(region.clone())),
        None => region_of_environment().await,
    };
    let sdk = sdk_config(location, region.clone(), http).await?;
    let endpoint = endpoint(location, &sdk)?;
    let mut config = s3_config(location, options, &sdk, endpoint.as_deref());
    if location.skip_verify {
        // Only for the bucket, not for the services that hand out credentials.
        config = config.http_client(unverified::http_client(options.patience.connect)?);
    }
    if region.is_some() || endpoint.is_some() {
        return Ok((Client::from_conf(config.build()), endpoint));
    }
    let found = bucket_region(location, &Client::from_conf(config.clone().build())).await?;
    Ok((Client::from_conf(config.region(Region::new(found)).build()), None))
}

/// The region that the environment names. The metadata service of EC2 is not asked: outside EC2,
/// that costs seconds.
async fn region_of_environment() -> Option<Region> {
    RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new())
        .region()
        .await
}

async fn sdk_config(
    location: &S3Location,
    region: Option<Region>,
    http: SharedHttpClient,
) -> Result<SdkConfig> {
    let given = credentials::given(location, |name| env::var(name).ok())
        .map_err(|text| StoreError::Rejected(anyhow!("{text}, for bucket {}", location.bucket)))?;
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(region.unwrap_or(Region::from_static(REGION_DEFAULT)))
        .http_client(http);
    if let Some(credentials) = given {
        loader = loader.credentials_provider(credentials);
    }
    Ok(loader.load().await)
}

/// The server to talk to, with a scheme. The AWS tools' own variables count too.
fn endpoint(location: &S3Location, sdk: &SdkConfig) -> Result<Option<String>> {
    let endpoint = location
        .endpoint
        .clone()
        .or_else(|| env::var("AWS_ENDPOINT_URL_S3").ok())
        .or_else(|| env::var("AWS_ENDPOINT_URL").ok())
        .or_else(|| sdk.endpoint_url().map(str::to_owned))
        .filter(|endpoint| !endpoint.is_empty());
    let endpoint = endpoint.map(|endpoint| with_scheme(&endpoint));
    match endpoint.as_deref().map(check_endpoint) {
        Some(Err(problem)) => Err(StoreError::Rejected(anyhow!(
            "the endpoint of bucket {} {problem}; it is to be like https://host:port",
            location.bucket
        ))),
        _ => Ok(endpoint),
    }
}

fn with_scheme(endpoint: &str) -> String {
    if endpoint.contains("://") { endpoint.to_owned() } else { format!("https://{endpoint}") }
}

/// Returns what is wrong with an endpoint. The text does not contain the endpoint, which may hold
/// a password.
fn check_endpoint(endpoint: &str) -> Result<(), &'static str> {
    let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
    match host {
        None => Err("begins with neither http:// nor https://"),
        Some(host) if host.contains('@') => Err("has a user name in it"),
        Some(host) if host.is_empty() || host.starts_with(['/', ':']) => Err("has no host"),
        Some(host) if host.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            Err("has a space in it")
        }
        Some(_) => Ok(()),
    }
}

fn s3_config(
    location: &S3Location,
    options: &S3Options,
    sdk: &SdkConfig,
    endpoint: Option<&str>,
) -> Builder {
    let mut config = Builder::from(sdk)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(options.patience.request(0))
        .stalled_stream_protection(options.patience.stalls())
        .force_path_style(location.force_path_style.unwrap_or(endpoint.is_some()));
    if let Some(endpoint) = endpoint {
        config = config.endpoint_url(endpoint);
        // Many other servers reject the checksums that AWS takes.
        if sdk.request_checksum_calculation().is_none() {
            config = config.request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
        }
        if sdk.response_checksum_validation().is_none() {
            config = config.response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        }
    }
    config
}

/// Asks AWS where the bucket is.
async fn bucket_region(location: &S3Location, client: &Client) -> Result<String> {
    let operation = Operation {
        verb: "look up the region",
        key: "",
        bucket: &location.bucket,
        endpoint: "AWS",
    };
    let output = match client.get_bucket_location().bucket(&location.bucket).send().await {
        Ok(output) => output,
        Err(error) => {
            // A refusal often names the region all the same.
            let named = error
                .raw_response()
                .and_then(|answer| answer.headers().get("x-amz-bucket-region").map(str::to_owned));
            return named.ok_or_else(|| operation.failed(&error));
        }
    };
    Ok(
        match output.location_constraint().map(aws_sdk_s3::types::BucketLocationConstraint::as_str)
        {
            None | Some("") => REGION_DEFAULT.to_owned(),
            // A name from before there was a second region in Europe.
            Some("EU") => "eu-west-1".to_owned(),
            Some(region) => region.to_owned(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_endpoints_with_and_without_a_scheme() {
        for (endpoint, good) in [
            ("https://minio.example.com:9000", true),
            ("http://127.0.0.1:9000/", true),
            ("minio:9000", true),
            ("http://[::1]:9000", true),
            ("https://", false),
            ("https://:9000", false),
            ("ftp://minio", false),
            ("https://user:password@minio", false),
            ("https://min io", false),
        ] {
            assert_eq!(check_endpoint(&with_scheme(endpoint)).is_ok(), good, "{endpoint}");
        }
    }
}
