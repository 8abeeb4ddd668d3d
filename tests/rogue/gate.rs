use std::io;
use std::sync::{Arc, Mutex};

use futures_util::stream;
use hyper::body::{Bytes, Incoming};
use s3s::auth::SimpleAuth;
use s3s::dto::StreamingBlob;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError, HttpRequest, HttpResponse};

use super::bucket::Bucket;
use super::contents::Contents;
use super::fault::{Fault, Refusal};
use super::request::Request;
use super::rules::Rules;
use super::server::{ACCESS_KEY_ID, BUCKET, SECRET_ACCESS_KEY};

/// Larger than any object of a test.
const BODY_MAX: usize = 1 << 30;

/// The gate that every request passes.
pub(super) struct Gate {
    service: S3Service,
    pub(super) contents: Arc<Mutex<Contents>>,
    pub(super) rules: Mutex<Rules>,
    /// All requests so far, in order.
    pub(super) seen: Mutex<Vec<Request>>,
    /// Requests that will be carried out again, and after how many others.
    pending: Mutex<Vec<(u32, HttpRequest<Bytes>)>>,
}

impl Gate {
    pub(super) fn new(seed: u64) -> Self {
        let contents = Arc::new(Mutex::new(Contents::default()));
        let mut service = S3ServiceBuilder::new(Bucket(Arc::clone(&contents)));
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        Self {
            service: service.build(),
            contents,
            rules: Mutex::new(Rules::new(seed)),
            seen: Mutex::default(),
            pending: Mutex::default(),
        }
    }

    /// Answers a request, or closes the connection.
    pub(super) async fn pass(
        &self,
        request: HttpRequest<Incoming>,
    ) -> Result<HttpResponse, HttpError> {
        let (head, body) = request.into_parts();
        // A request that does not arrive completely is not carried out.
        let bytes = Body::from(body).store_all_limited(BODY_MAX).await.map_err(HttpError::new)?;
        let (bucket, seen) = Request::parse(&head.method, &head.uri);
        self.seen.lock().unwrap().push(seen.clone());
        let request = HttpRequest::from_parts(head, bytes);
        if bucket != BUCKET {
            return Ok(Refusal::NO_BUCKET.answer());
        }
        let fault = self.rules.lock().unwrap().strike(&seen);
        let answer = self.answer(request, fault).await?;
        self.catch_up().await?;
        Ok(answer)
    }

    async fn answer(
        &self,
        request: HttpRequest<Bytes>,
        fault: Option<Fault>,
    ) -> Result<HttpResponse, HttpError> {
        match fault {
            None => self.carry_out(&request).await,
            Some(Fault::Refuse(refusal)) => Ok(refusal.answer()),
            Some(Fault::LoseAnswer) => {
                self.carry_out(&request).await?;
                Err(HttpError::new("the answer is lost on purpose".into()))
            }
            Some(Fault::Deny(refusal)) => {
                self.carry_out(&request).await?;
                Ok(refusal.answer())
            }
            Some(Fault::Repeat) => {
                self.carry_out(&request).await?;
                self.carry_out(&request).await
            }
            Some(Fault::RepeatAfter(others)) => {
                let answer = self.carry_out(&request).await;
                self.pending.lock().unwrap().push((others + 1, request));
                answer
            }
            Some(Fault::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                self.carry_out(&request).await
            }
            Some(Fault::BreakOff(bytes)) => Ok(broken(self.carry_out(&request).await?, bytes)),
            Some(Fault::Garble) => Ok(garbled(self.carry_out(&request).await?)),
        }
    }

    async fn carry_out(&self, request: &HttpRequest<Bytes>) -> Result<HttpResponse, HttpError> {
        self.service.call(request.clone().map(Body::from)).await
    }

    /// Carries out again the requests that have waited long enough.
    async fn catch_up(&self) -> Result<(), HttpError> {
        let due: Vec<HttpRequest<Bytes>> = {
            let mut pending = self.pending.lock().unwrap();
            pending.iter_mut().for_each(|(others, _)| *others -= 1);
            pending.extract_if(.., |(others, _)| *others == 0).map(|(_, request)| request).collect()
        };
        for request in due {
            self.carry_out(&request).await?;
        }
        Ok(())
    }
}

fn garbled(answer: HttpResponse) -> HttpResponse {
    let length = answer.headers().get("content-length");
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(0);
    answer.map(|_| Body::from(Bytes::from(vec![b'?'; length])))
}

/// Ends the body early, though its length is announced as before.
fn broken(answer: HttpResponse, bytes: usize) -> HttpResponse {
    answer.map(|mut body| {
        let whole = body.take_bytes().unwrap_or_default();
        let error = io::Error::other("the answer breaks off on purpose");
        let parts = [Ok(whole.slice(..bytes.min(whole.len()))), Err(error)];
        Body::from(StreamingBlob::wrap(stream::iter(parts)))
    })
}
