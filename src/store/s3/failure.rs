use std::error::Error;
use std::{env, fmt, io};

use anyhow::anyhow;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ConnectorError, ProvideErrorMetadata, SdkError};

use super::credentials;
use super::verdict::{Answer, Verdict};
use crate::store::StoreError;

/// The operation in progress, for messages.
#[derive(Clone, Copy)]
pub(super) struct Operation<'a> {
    pub verb: &'static str,
    /// The key as the caller gave it. Empty if the operation is about the bucket.
    pub key: &'a str,
    pub bucket: &'a str,
    pub endpoint: &'a str,
}

impl Operation<'_> {
    pub(super) fn failed<E>(&self, error: &SdkError<E, HttpResponse>) -> StoreError
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        match error.raw_response() {
            // A successful status without an error code means that the answer could not be parsed.
            Some(response) if error.code().is_some() || !response.status().is_success() => {
                let answer = Answer {
                    status: response.status().as_u16(),
                    code: error.code().unwrap_or_default(),
                    message: error.message().unwrap_or_default(),
                    request: response.headers().get("x-amz-request-id").unwrap_or_default(),
                };
                self.answered(&answer)
            }
            _ => self.unanswered(error),
        }
    }

    /// The error that one of several objects was not deleted.
    pub(super) fn failed_for_key(&self, error: &aws_sdk_s3::types::Error) -> StoreError {
        self.answered(&Answer {
            status: 200,
            code: error.code().unwrap_or_default(),
            message: error.message().unwrap_or_default(),
            request: "",
        })
    }

    fn answered(&self, answer: &Answer<'_>) -> StoreError {
        match answer.verdict(!self.key.is_empty() && self.verb != "list") {
            Verdict::NotFound => StoreError::NotFound { key: self.key.to_owned() },
            Verdict::Exists => StoreError::Exists { key: self.key.to_owned() },
            Verdict::Rejected(remedy) => self.rejected(with_remedy(&answer.to_string(), remedy)),
            Verdict::Unavailable(remedy) => {
                self.unavailable(with_remedy(&answer.to_string(), remedy))
            }
        }
    }

    /// The error if the request did not reach the server, or its answer did not reach us.
    fn unanswered(&self, error: &(dyn Error + 'static)) -> StoreError {
        let causes = causes(error);
        let text = text(&causes);
        if let Some(error) = causes.iter().find_map(|cause| cause.downcast_ref()) {
            return match error {
                CredentialsError::CredentialsNotLoaded(_) => {
                    self.rejected(credentials::none_found(|name| env::var(name).ok()))
                }
                CredentialsError::InvalidConfiguration(_) => self.rejected(&text),
                _ => self.unavailable(&text),
            };
        }
        match causes.iter().find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(_)) => self.rejected(with_remedy(
                &text,
                "the certificate of the server is not trusted: name a file with that of its \
                 authority in AWS_CA_BUNDLE, or set skip-verify",
            )),
            Some(rustls::Error::InvalidMessage(_)) => self.rejected(with_remedy(
                &text,
                "the server does not speak TLS there: should the endpoint begin with http://?",
            )),
            _ if is_of_our_making(&causes) => self.rejected(&text),
            _ => self.unavailable(&text),
        }
    }

    pub(super) fn broken_off(&self, error: &(dyn Error + 'static)) -> StoreError {
        self.unavailable(format!("the transfer broke off: {}", text(&causes(error))))
    }

    pub(super) fn cut_off(&self, found: usize, expected: usize) -> StoreError {
        self.unavailable(format!("the server sent {found} bytes where it announced {expected}"))
    }

    pub(super) fn rejected(&self, text: impl fmt::Display) -> StoreError {
        StoreError::Rejected(anyhow!("{}: {text}", self.description()))
    }

    pub(super) fn unavailable(&self, text: impl fmt::Display) -> StoreError {
        StoreError::Unavailable(anyhow!("{}: {text}", self.description()))
    }

    fn description(&self) -> String {
        let Self { verb, key, bucket, endpoint } = self;
        let space = if key.is_empty() { "" } else { " " };
        format!("cannot {verb}{space}{key} in bucket {bucket} at {endpoint}")
    }
}

fn with_remedy(text: &str, remedy: &str) -> String {
    if remedy.is_empty() { text.to_owned() } else { format!("{text}; {remedy}") }
}

/// An error and its causes. `io::Error::source` skips the error that it wraps, which may be a TLS
/// error.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut causes = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        causes.push(error);
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    causes
}

/// The causes on one line, without the layers of the SDK, and without texts that contain a later
/// one.
fn text(causes: &[&(dyn Error + 'static)]) -> String {
    let telling = causes.iter().filter(|cause| !cause.is::<ConnectorError>()).skip(1);
    let mut texts: Vec<String> = telling.map(ToString::to_string).collect();
    if texts.is_empty() {
        texts.extend(causes.last().map(ToString::to_string));
    }
    let mut line: Vec<&str> = Vec::new();
    for (position, text) in texts.iter().enumerate() {
        if !texts[position + 1..].iter().any(|later| text.contains(later.as_str())) {
            line.push(text);
        }
    }
    line.join(": ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether the request could not even be built, as with an endpoint that is not a URL.
fn is_of_our_making(causes: &[&(dyn Error + 'static)]) -> bool {
    let connector = causes.iter().find_map(|cause| cause.downcast_ref::<ConnectorError>());
    connector.is_some_and(ConnectorError::is_user)
}
