use hyper::{Method, Uri};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Get,
    Head,
    List,
    Put,
    BeginUpload,
    PutPart,
    CompleteUpload,
    AbortUpload,
    Delete,
    DeleteMany,
    Other,
}

impl Kind {
    /// The kinds that bring something into the store.
    pub(crate) const STORING: [Self; 4] =
        [Self::Put, Self::BeginUpload, Self::PutPart, Self::CompleteUpload];
}

/// A request that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) kind: Kind,
    /// The key of the object. Empty if the request is about the bucket.
    pub(crate) key: String,
}

impl Request {
    /// Parses method and address into the name of the bucket and the request.
    pub(super) fn parse(method: &Method, uri: &Uri) -> (String, Self) {
        let path = uri.path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let query = uri.query().unwrap_or_default();
        let names: Vec<&str> =
            query.split('&').map(|pair| pair.split('=').next().unwrap_or_default()).collect();
        let kind = kind(method, key.is_empty(), |name| names.contains(&name));
        (bucket.to_owned(), Self { kind, key: key.to_owned() })
    }
}

fn kind(method: &Method, of_bucket: bool, has: impl Fn(&str) -> bool) -> Kind {
    match (method.as_str(), of_bucket) {
        ("GET", true) if has("list-type") => Kind::List,
        ("POST", true) if has("delete") => Kind::DeleteMany,
        ("GET", false) => Kind::Get,
        ("HEAD", false) => Kind::Head,
        ("PUT", false) if has("uploadId") => Kind::PutPart,
        ("PUT", false) => Kind::Put,
        ("POST", false) if has("uploads") => Kind::BeginUpload,
        ("POST", false) if has("uploadId") => Kind::CompleteUpload,
        ("DELETE", false) if has("uploadId") => Kind::AbortUpload,
        ("DELETE", false) => Kind::Delete,
        _ => Kind::Other,
    }
}
