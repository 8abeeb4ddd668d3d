use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use s3s::{Body, HttpResponse};

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not carried out, and the answer says so.
    Refuse(Refusal),
    /// It is carried out, and the connection is closed without an answer.
    LoseAnswer,
    /// It is carried out, and the answer says that it was not.
    Deny(Refusal),
    /// It is carried out twice, one right after the other.
    Repeat,
    /// It is carried out, and again after this many other requests.
    RepeatAfter(u32),
    /// It has to wait.
    Delay(Duration),
    /// The connection is closed after this many bytes of the answer's body.
    BreakOff(usize),
    /// The answer has the right length and a wrong body, such as a proxy may send.
    Garble,
}

/// An answer that says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// The error code. If empty, there is not even a body, as with a proxy.
    pub(crate) code: &'static str,
}

impl Refusal {
    pub(crate) const INTERNAL: Self = Self { status: 500, code: "InternalError" };
    pub(crate) const SLOW_DOWN: Self = Self { status: 503, code: "SlowDown" };
    pub(crate) const GATEWAY: Self = Self { status: 502, code: "" };
    pub(crate) const TIMEOUT: Self = Self { status: 408, code: "RequestTimeout" };
    pub(crate) const TOO_MANY: Self = Self { status: 429, code: "TooManyRequests" };
    pub(crate) const DENIED: Self = Self { status: 403, code: "AccessDenied" };
    pub(crate) const NO_BUCKET: Self = Self { status: 404, code: "NoSuchBucket" };
    pub(crate) const FULL: Self = Self { status: 507, code: "InsufficientStorage" };
    pub(crate) const NOT_IMPLEMENTED: Self = Self { status: 501, code: "NotImplemented" };
    pub(crate) const QUOTA: Self = Self { status: 403, code: "QuotaExceeded" };

    /// Refusals that are temporary.
    pub(crate) const PASSING: [Self; 5] =
        [Self::INTERNAL, Self::SLOW_DOWN, Self::GATEWAY, Self::TIMEOUT, Self::TOO_MANY];

    pub(super) fn answer(self) -> HttpResponse {
        let Self { status, code } = self;
        let body = match code {
            "" => String::new(),
            code => format!("<Error><Code>{code}</Code><Message>on purpose</Message></Error>"),
        };
        let mut answer = HttpResponse::new(Body::from(Bytes::from(body)));
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        answer
    }
}
