use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_s3::config::StalledStreamProtectionConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;

/// What access to S3 depends on besides the location.
#[derive(Clone, Debug, Default)]
pub struct S3Options {
    /// A file of certificates (PEM) to trust, besides those of the system.
    pub ca_bundle: Option<PathBuf>,
    pub patience: Patience,
}

impl S3Options {
    pub fn from_env() -> Self {
        let ca_bundle = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty());
        Self { ca_bundle: ca_bundle.map(PathBuf::from), patience: Patience::default() }
    }
}

/// How long to wait for an S3 server. The SDK itself waits for ever.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection to be made.
    pub connect: Duration,
    /// For the first byte of an answer, once the request has been sent.
    pub answer: Duration,
    /// For a transfer in which nothing moves.
    pub stall: Duration,
    /// The slowest transfer that is tolerated.
    pub bytes_per_second: u64,
    /// For the next part of an upload to succeed.
    pub part: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            stall: Duration::from_secs(20),
            bytes_per_second: 32 << 10,
            part: Duration::from_mins(1),
        }
    }
}

/// Time-outs grow in steps of this many bytes, since only requests with the same time-outs share
/// connections.
const STEP_BYTES: u64 = 8 << 20;

/// Requests with bodies up to this size have the time-outs of requests without a body.
const SMALL_BYTES: u64 = 1 << 20;

impl Patience {
    /// The time-out of a whole transfer of `bytes`.
    pub(super) fn transfer(&self, bytes: u64) -> Duration {
        self.answer + Duration::from_secs(bytes / self.bytes_per_second.max(1))
    }

    /// The time-outs of one attempt at a request with a body of `bytes`. The SDK counts the time
    /// that the body takes as waiting for the answer.
    pub(super) fn request(&self, bytes: u64) -> TimeoutConfig {
        let bytes = if bytes <= SMALL_BYTES { 0 } else { bytes.next_multiple_of(STEP_BYTES) };
        self.timeouts(self.transfer(bytes))
    }

    /// The time-outs for a server to put together the parts of a large object.
    pub(super) fn completion(&self) -> TimeoutConfig {
        self.timeouts(self.answer * 10)
    }

    fn timeouts(&self, answer: Duration) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect)
            .read_timeout(answer)
            .operation_attempt_timeout(self.connect + answer)
            .build()
    }

    pub(super) fn stalls(&self) -> StalledStreamProtectionConfig {
        StalledStreamProtectionConfig::enabled().grace_period(self.stall).build()
    }
}
