use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::options::S3Options;
use crate::store::{Result, StoreError};

/// An HTTP client that respects the proxy variables, and trusts the certificates of the system (or
/// of `SSL_CERT_FILE` and `SSL_CERT_DIR`) and those of `AWS_CA_BUNDLE`.
pub(super) fn http_client(options: &S3Options) -> Result<SharedHttpClient> {
    if let Some(path) = env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) {
        // The SDK would log this, and go on without any certificate.
        certificates("SSL_CERT_FILE", &PathBuf::from(path))?;
    }
    let mut trusted = TrustStore::default();
    if let Some(path) = &options.ca_bundle {
        trusted.add_pem_certificate(certificates("AWS_CA_BUNDLE", path)?);
    }
    let context = TlsContext::builder()
        .with_trust_store(trusted)
        .build()
        .map_err(|error| StoreError::Rejected(anyhow!("cannot set up TLS: {error}")))?;
    Ok(Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
        if let Some(settings) = settings {
            connector = connector.connector_settings(settings.clone());
        }
        connector
            .set_sleep_impl(components.and_then(aws_sdk_s3::config::RuntimeComponents::sleep_impl));
        connector
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(context.clone())
            .build()
    }))
}

/// Reads a file of certificates, and checks it: the SDK panics on an invalid one.
fn certificates(variable: &str, path: &Path) -> Result<Vec<u8>> {
    let rejected = |reason: &dyn std::fmt::Display| {
        StoreError::Rejected(anyhow!(
            "{variable} names {}, which is no file of certificates in PEM format: {reason}",
            path.display()
        ))
    };
    let pem = fs::read(path).map_err(|error| rejected(&error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| rejected(&error))?;
        roots.add(certificate).map_err(|error| rejected(&error))?;
    }
    if roots.is_empty() { Err(rejected(&"there is none in it")) } else { Ok(pem) }
}
