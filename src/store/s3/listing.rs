use std::time::SystemTime;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::operation::list_objects_v2::builders::ListObjectsV2FluentBuilder;

use super::S3Store;
use crate::store::{Object, Result};

impl S3Store {
    pub(super) async fn objects(&self, prefix: &str) -> Result<Vec<Object>> {
        let request = self.client.list_objects_v2();
        let mut objects = Vec::new();
        self.for_each_page(prefix, request, |page| {
            objects.extend(page.contents().iter().filter_map(|object| {
                let key = object.key()?.strip_prefix(&self.root)?;
                let created = object.last_modified().and_then(|time| (*time).try_into().ok());
                // Web consoles create empty objects with such names, to show directories.
                let is_object = !key.is_empty() && !key.ends_with('/');
                is_object.then(|| Object {
                    key: key.to_owned(),
                    size: object.size().and_then(|size| size.try_into().ok()).unwrap_or(0),
                    created: created.unwrap_or(SystemTime::UNIX_EPOCH),
                })
            }));
        })
        .await?;
        // Not every server lists in order, and pages may overlap.
        objects.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        objects.dedup_by(|a, b| a.key == b.key);
        Ok(objects)
    }

    pub(super) async fn directories(&self, prefix: &str) -> Result<Vec<String>> {
        let above = self.full_key(prefix);
        let mut names = Vec::new();
        let request = self.client.list_objects_v2().delimiter("/");
        self.for_each_page(prefix, request, |page| {
            names.extend(page.common_prefixes().iter().filter_map(|found| {
                let name = found.prefix()?.strip_prefix(&above)?.strip_suffix('/')?;
                (!name.is_empty()).then(|| name.to_owned())
            }));
        })
        .await?;
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    async fn for_each_page(
        &self,
        prefix: &str,
        request: ListObjectsV2FluentBuilder,
        mut page: impl FnMut(&ListObjectsV2Output) + Send,
    ) -> Result<()> {
        let operation = self.operation("list", prefix);
        let request = request.bucket(&self.bucket).prefix(self.full_key(prefix));
        let mut next = Next::First;
        loop {
            let request = match &next {
                Next::First => request.clone(),
                Next::Token(token) => request.clone().continuation_token(token),
                Next::After(key) => request.clone().start_after(key),
            };
            let output = request.send().await.map_err(|error| operation.failed(&error))?;
            page(&output);
            if !output.is_truncated().unwrap_or(false) {
                return Ok(());
            }
            let following = Next::following(&output);
            match following {
                Some(following) if following != next => next = following,
                _ => {
                    let text = "the server says that there is more, but not how to go on";
                    return Err(operation.rejected(text));
                }
            }
        }
    }
}

/// Where to continue a listing.
#[derive(PartialEq, Eq)]
enum Next {
    First,
    Token(String),
    /// After this key. Some servers forget to send the token.
    After(String),
}

impl Next {
    fn following(output: &ListObjectsV2Output) -> Option<Self> {
        match output.next_continuation_token() {
            Some(token) if !token.is_empty() => Some(Self::Token(token.to_owned())),
            _ => {
                let key = output.contents().last().and_then(|object| object.key());
                let prefix = output.common_prefixes().last().and_then(|found| found.prefix());
                key.max(prefix).map(|last| Self::After(last.to_owned()))
            }
        }
    }
}
