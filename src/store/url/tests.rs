use super::*;

fn check(url: &str, expected: Result<&str, &str>) {
    let found = match Location::parse_url(url) {
        Ok(Location::File(root)) => Ok(root.display().to_string()),
        Ok(Location::S3(S3Location { bucket, prefix, endpoint, region, .. })) => Ok(format!(
            "{bucket} | {prefix} | {} | {}",
            endpoint.as_deref().unwrap_or("AWS"),
            region.as_deref().unwrap_or("?")
        )),
        Err(error) => Err(error.to_string()),
    };
    match expected {
        Ok(expected) => assert_eq!(found.as_deref(), Ok(expected), "{url}"),
        Err(part) => assert!(found.as_ref().is_err_and(|text| text.contains(part)), "{found:?}"),
    }
}

#[test]
fn a_place_is_shown_as_it_can_be_given_again() {
    for url in ["s3://b", "s3://b/p", "s3://b/100%25 a%3F/%23b", "s3://b/ü"] {
        let place = Location::parse_url(url).unwrap();
        assert_eq!(place.to_string(), url);
        assert_eq!(Location::parse_url(&place.to_string()), Ok(place));
    }
}

#[test]
fn reads_file_urls() {
    let relative = std::env::current_dir().unwrap().join("rel/x").display().to_string();
    for (url, expected) in [
        ("file:///tmp/x", Ok("/tmp/x")),
        ("file:///tmp//./x/", Ok("/tmp/x")),
        ("FILE:///tmp/x", Ok("/tmp/x")),
        ("file:///tmp/a b", Ok("/tmp/a b")),
        ("file:///tmp/a%20b", Ok("/tmp/a b")),
        ("file:///tmp/100%", Ok("/tmp/100%")),
        ("file:///tmp/x?y#z", Ok("/tmp/x?y#z")),
        ("file://foo/bar", Ok("/foo/bar")),
        ("file:rel/x", Ok(relative.as_str())),
        ("file://~/x", Ok("/~/x")),
        ("file:/x", Ok("/x")),
        ("file://", Err("no path")),
        ("file:", Err("no path")),
    ] {
        check(url, expected);
    }
}

#[test]
fn reads_s3_urls() {
    for (url, expected) in [
        ("s3://bkt/a/b/", "bkt | a/b | AWS | ?"),
        ("s3://bkt", "bkt |  | AWS | ?"),
        ("s3://bkt/", "bkt |  | AWS | ?"),
        ("s3://bkt/.", "bkt |  | AWS | ?"),
        ("s3://b//a/../c", "b | c | AWS | ?"),
        ("s3://b/../../c", "b | c | AWS | ?"),
        ("s3://b/a%20b+c", "b | a b+c | AWS | ?"),
        ("s3://a.b.c/p", "a.b.c | p | AWS | ?"),
        ("s3://bkt.localhost:9000/p", "bkt | p | http://localhost:9000 | us-east-1"),
        ("s3://a.b.localhost/p", "a.b | p | http://localhost | us-east-1"),
        ("s3://b.s3.r-1.backblazeb2.com", "b |  | https://s3.r-1.backblazeb2.com | r-1"),
        ("s3://x.y.s3.r.backblazeb2.com:1/p", "x.y | p | https://s3.r.backblazeb2.com:1 | r"),
        ("s3://b.s3.filebase.com/p", "b | p | https://s3.filebase.com | ?"),
        ("s3://b.nyc3.digitaloceanspaces.com", "b |  | https://nyc3.digitaloceanspaces.com | nyc3"),
        ("s3://b.s3.fr-par.scw.cloud/p", "b | p | https://s3.fr-par.scw.cloud | fr-par"),
        ("s3://b.eu-1.linodeobjects.com/p", "b | p | https://eu-1.linodeobjects.com | eu-1"),
        ("s3://bkt.minio.example.com/p", "bkt.minio.example.com | p | AWS | ?"),
        ("s3://bkt.minio.example.com:9000/p", "bkt | p | https://minio.example.com:9000 | ?"),
        ("s3://bkt.minio.example.com:80/p", "bkt | p | http://minio.example.com:80 | ?"),
        ("s3://bkt.127.0.0.1:9000/p", "bkt | p | http://127.0.0.1:9000 | ?"),
        ("s3://bkt.minio:9000", "bkt |  | https://minio:9000 | ?"),
    ] {
        check(url, Ok(expected));
    }
}

#[test]
fn refuses_what_it_cannot_mean() {
    for (url, part) in [
        ("s3://", "bucket required"),
        ("s3:///p", "bucket required"),
        ("s3:bkt/p", "no host"),
        ("s3://localhost:9000/p", "bucket required"),
        ("s3://nyc3.digitaloceanspaces.com/p", "bucket required"),
        ("s3://s3.r.backblazeb2.com/p", "bucket required"),
        ("s3://s3.filebase.com/p", "bucket required"),
        ("s3://bkt:9000/p", "has a port but no host"),
        ("s3://bkt.host:x/p", "not a number"),
        ("s3://bkt/%zz", "`%`"),
        ("s3://bkt/p?region=x", "configuration"),
        ("s3://user:secret@bkt/p?x", "has keys in it"),
        ("gs://bkt/p", "supported are s3 and file"),
        ("sftp://u@h/p", "supported are s3 and file"),
        ("/tmp/x", "is not a URL"),
        ("bkt/p", "is not a URL"),
    ] {
        check(url, Err(part));
    }
}

#[test]
fn cleans_prefixes_as_go_does() {
    for (path, expected) in [
        ("", ""),
        (".", ""),
        ("/", "/"),
        ("/db", "/db"),
        ("a//b/./c/..", "a/b"),
        ("../a", "../a"),
        ("a/../../b", "../b"),
        ("/../a/", "/a"),
    ] {
        assert_eq!(S3Location::clean_prefix(path), expected, "{path}");
    }
}

#[test]
fn prints_where_and_no_secret() {
    let mut place = S3Location { bucket: "b".into(), ..S3Location::default() };
    assert_eq!(Location::S3(place.clone()).to_string(), "s3://b");
    place.prefix = "p/q".into();
    place.secret_access_key = Some(crate::store::Secret::new("hush"));
    assert_eq!(Location::S3(place.clone()).to_string(), "s3://b/p/q");
    assert!(!format!("{place:?}").contains("hush"));
    assert_eq!(Location::File("/x/y".into()).to_string(), "/x/y");
}
