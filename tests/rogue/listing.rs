use s3s::dto::{
    CommonPrefix, ETag, ListObjectsV2Input, ListObjectsV2Output, Object as Listed, Timestamp,
};

use super::contents::{Contents, Object, hash};

/// An entry of a listing, with its name.
enum Entry<'a> {
    Object(&'a str, &'a Object),
    /// All objects whose names begin like this.
    Prefix(&'a str),
}

impl Entry<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Object(name, _) | Self::Prefix(name) => name,
        }
    }
}

impl Contents {
    /// A page of a listing.
    pub(super) fn list(&self, input: &ListObjectsV2Input) -> ListObjectsV2Output {
        let asked = input.max_keys.and_then(|keys| usize::try_from(keys).ok());
        let page = asked.unwrap_or(usize::MAX).min(self.habits.page);
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
        let mut entries = self.entries(prefix, delimiter);
        if let Some(token) = &input.continuation_token {
            entries.retain(|entry| self.place(entry.name()) > self.place(token));
        } else if let Some(name) = &input.start_after {
            entries.retain(|entry| entry.name() > name.as_str());
        }
        let more = entries.len() > page;
        entries.truncate(page);
        let last = entries.last().map(|entry| entry.name().to_owned());
        ListObjectsV2Output {
            name: Some(input.bucket.clone()),
            prefix: input.prefix.clone(),
            delimiter: input.delimiter.clone(),
            key_count: i32::try_from(entries.len()).ok(),
            max_keys: i32::try_from(page).ok(),
            is_truncated: Some(more),
            continuation_token: input.continuation_token.clone(),
            next_continuation_token: last.filter(|_| more && !self.habits.forgets_tokens),
            contents: Some(entries.iter().filter_map(object).collect()),
            common_prefixes: Some(entries.iter().filter_map(common_prefix).collect()),
            ..ListObjectsV2Output::default()
        }
    }

    /// The sort key of a name in a listing.
    fn place<'a>(&self, name: &'a str) -> (u64, &'a str) {
        (if self.habits.unordered { hash(&name) } else { 0 }, name)
    }

    fn entries(&self, prefix: &str, delimiter: Option<&str>) -> Vec<Entry<'_>> {
        let listed = self.listed().filter(|(key, _)| key.starts_with(prefix));
        let mut entries: Vec<Entry<'_>> = listed
            .map(|(key, object)| {
                let end = delimiter.and_then(|delimiter| {
                    let at = key[prefix.len()..].find(delimiter)?;
                    Some(prefix.len() + at + delimiter.len())
                });
                end.map_or(Entry::Object(key, object), |end| Entry::Prefix(&key[..end]))
            })
            .collect();
        entries.sort_by(|a, b| self.place(a.name()).cmp(&self.place(b.name())));
        entries.dedup_by(|a, b| a.name() == b.name());
        entries
    }
}

fn object(entry: &Entry<'_>) -> Option<Listed> {
    let Entry::Object(key, object) = entry else { return None };
    Some(Listed {
        key: Some((*key).to_owned()),
        size: i64::try_from(object.bytes.len()).ok(),
        last_modified: Some(Timestamp::from(object.modified)),
        e_tag: Some(ETag::Strong(object.tag.clone())),
        ..Listed::default()
    })
}

fn common_prefix(entry: &Entry<'_>) -> Option<CommonPrefix> {
    let Entry::Prefix(prefix) = entry else { return None };
    Some(CommonPrefix { prefix: Some((*prefix).to_owned()) })
}
