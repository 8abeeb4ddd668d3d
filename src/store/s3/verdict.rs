use std::fmt;

/// What an S3 server answered to a request that it did not carry out.
pub(super) struct Answer<'a> {
    pub status: u16,
    /// The error code. Empty if there was none, as in an answer to HEAD, or in one of a proxy.
    pub code: &'a str,
    pub message: &'a str,
    /// The server's name for the request, by which its operator finds it.
    pub request: &'a str,
}

/// What a caller can do about an answer, with a hint for the user, which may be empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    NotFound,
    /// There is an object, though there must be none.
    Exists,
    Rejected(&'static str),
    Unavailable(&'static str),
}

impl Answer<'_> {
    /// Judges an answer. `about_object`: the request was for one object, so "not found" may mean
    /// that object.
    pub(super) fn verdict(&self, about_object: bool) -> Verdict {
        use Verdict::{Exists, NotFound, Rejected, Unavailable};
        match (self.code, self.status) {
            ("NoSuchKey" | "NotFound", _) | ("", 404) if about_object => NotFound,
            (_, 412) if about_object => Exists,
            ("NoSuchBucket", _) => Rejected("create the bucket, or check its name"),
            ("InvalidAccessKeyId" | "InvalidClientTokenId", _) => Rejected(
                "check access-key-id, or the variables AWS_ACCESS_KEY_ID and \
                 LITESTREAM_ACCESS_KEY_ID",
            ),
            ("SignatureDoesNotMatch", _) => {
                Rejected("check secret-access-key, or the variable that it is taken from")
            }
            ("AccessDenied", _) => Rejected("these keys may not do that: check them and the policy"),
            (
                "PermanentRedirect"
                | "AuthorizationHeaderMalformed"
                | "IllegalLocationConstraintException"
                | "TemporaryRedirect",
                _,
            ) => Rejected("the bucket is elsewhere: check region and endpoint"),
            ("RequestTimeTooSkewed", _) => Unavailable("set the clock of this machine"),
            (
                "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired"
                // The server has dropped the upload, the bytes were altered in transit, or two
                // clients interfered: all of these can be overcome by another attempt.
                | "NoSuchUpload" | "BadDigest" | "XAmzContentSHA256Mismatch" | "IncompleteBody"
                | "RequestTimeout" | "OperationAborted" | "ConditionalRequestConflict"
                | "SlowDown" | "SlowDownRead" | "SlowDownWrite" | "Throttling"
                | "ThrottlingException" | "InternalError" | "ServiceUnavailable" | "ServerBusy",
                _,
            ) => Unavailable(""),
            (_, 501) => Rejected("the server does not know this request"),
            // 200: the server noticed the failure only after its answer had begun.
            (_, 200 | 408 | 425 | 429 | 500..) => Unavailable(""),
            (_, 301 | 302 | 307 | 308) => Rejected("check region and endpoint"),
            ("", 400) => {
                Rejected("does the server speak TLS there? then the endpoint begins with https://")
            }
            ("" | "NotFound", 404 | 405) => Rejected("is there an S3 server? check the endpoint"),
            _ => Rejected(""),
        }
    }
}

impl fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        let message = self.message.split_whitespace().collect::<Vec<_>>().join(" ");
        let message = message.trim_end_matches('.');
        if !message.is_empty() {
            write!(f, ": {message}")?;
        }
        if !self.request.is_empty() {
            write!(f, " (request {})", self.request)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, code: &str, expected: &str) {
        let answer = Answer { status, code, message: "", request: "" };
        let found = match answer.verdict(true) {
            Verdict::NotFound => "not found",
            Verdict::Exists => "exists",
            Verdict::Rejected(_) => "rejected",
            Verdict::Unavailable(_) => "unavailable",
        };
        assert_eq!(found, expected, "{status} {code}");
    }

    #[test]
    fn tells_what_can_be_tried_again() {
        for (status, code, expected) in [
            (404, "NoSuchKey", "not found"),
            (404, "", "not found"),
            (404, "NoSuchBucket", "rejected"),
            (404, "NoSuchUpload", "unavailable"),
            (403, "AccessDenied", "rejected"),
            (403, "", "rejected"),
            (403, "InvalidAccessKeyId", "rejected"),
            (403, "SignatureDoesNotMatch", "rejected"),
            (403, "RequestTimeTooSkewed", "unavailable"),
            (400, "ExpiredToken", "unavailable"),
            (400, "AuthorizationHeaderMalformed", "rejected"),
            (301, "PermanentRedirect", "rejected"),
            (400, "RequestTimeout", "unavailable"),
            (400, "InvalidRequest", "rejected"),
            (405, "MethodNotAllowed", "rejected"),
            (408, "", "unavailable"),
            (409, "OperationAborted", "unavailable"),
            (409, "ConditionalRequestConflict", "unavailable"),
            (412, "PreconditionFailed", "exists"),
            (416, "InvalidRange", "rejected"),
            (429, "", "unavailable"),
            (500, "InternalError", "unavailable"),
            (501, "NotImplemented", "rejected"),
            (502, "", "unavailable"),
            (503, "SlowDown", "unavailable"),
            (200, "InternalError", "unavailable"),
            (200, "AccessDenied", "rejected"),
        ] {
            check(status, code, expected);
        }
    }

    #[test]
    fn calls_only_an_object_missing() {
        let answer = Answer { status: 404, code: "", message: "", request: "" };
        assert!(matches!(answer.verdict(false), Verdict::Rejected(_)));
    }

    #[test]
    fn is_printed_on_one_line() {
        let answer =
            Answer { status: 403, code: "AccessDenied", message: "no.\n way.", request: "7" };
        assert_eq!(answer.to_string(), "HTTP 403 AccessDenied: no. way (request 7)");
    }
}
