use aws_sdk_s3::config::Credentials;

use crate::store::S3Location;

/// The keys to use without asking the AWS chain. These are the keys of the configuration, or else
/// of the environment, if Litestream's own variables fill in for a missing one of AWS.
pub(super) fn given(
    location: &S3Location,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Credentials>, &'static str> {
    match (&location.access_key_id, &location.secret_access_key) {
        (Some(id), Some(secret)) => {
            let (id, secret) = (id.as_str(), secret.reveal());
            return Ok(Some(Credentials::new(id, secret, None, None, "configuration")));
        }
        (Some(_), None) => return Err("there is an access-key-id but no secret-access-key"),
        (None, Some(_)) => return Err("there is a secret-access-key but no access-key-id"),
        (None, None) => (),
    }
    // Containers are often started with variables that are set but empty.
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let (id, secret) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
    if id.is_some() && secret.is_some() {
        return Ok(None);
    }
    let id = id.or_else(|| variable("LITESTREAM_ACCESS_KEY_ID"));
    let secret = secret.or_else(|| variable("LITESTREAM_SECRET_ACCESS_KEY"));
    let token = variable("AWS_SESSION_TOKEN");
    Ok(id.zip(secret).map(|(id, secret)| Credentials::new(id, secret, token, None, "environment")))
}

/// The error message if no keys were found, with the likely mistake.
pub(super) fn none_found(variable: impl Fn(&str) -> Option<String>) -> String {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let is_set = |name: &str| {
        ["AWS", "LITESTREAM"].iter().any(|prefix| variable(&format!("{prefix}_{name}")).is_some())
    };
    let found = match (is_set("ACCESS_KEY_ID"), is_set("SECRET_ACCESS_KEY")) {
        (true, false) => " in the environment but an access key ID, without its secret",
        (false, true) => " in the environment but a secret access key, without its ID",
        _ => "",
    };
    let profile = variable("AWS_PROFILE");
    let profile = profile.map(|name| format!(", nor in the profile {name:?}")).unwrap_or_default();
    format!(
        "no keys were found{found}{profile}; set access-key-id and secret-access-key, the variables \
         LITESTREAM_ACCESS_KEY_ID and LITESTREAM_SECRET_ACCESS_KEY, or what the AWS tools go by"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Secret;

    fn check(environment: &[(&str, &str)], expected: Option<&str>) {
        let variable = |name: &str| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        let found = given(&S3Location::default(), variable).unwrap().map(|found| {
            let token = found.session_token().unwrap_or("-");
            format!("{} {} {token}", found.access_key_id(), found.secret_access_key())
        });
        assert_eq!(found.as_deref(), expected, "{environment:?}");
    }

    #[test]
    fn fills_in_for_the_variables_of_aws() {
        let own = [("LITESTREAM_ACCESS_KEY_ID", "li"), ("LITESTREAM_SECRET_ACCESS_KEY", "ls")];
        check(&[], None);
        check(&own[..1], None);
        check(&own, Some("li ls -"));
        check(&[own[0], own[1], ("AWS_ACCESS_KEY_ID", "ai")], Some("ai ls -"));
        check(&[own[0], own[1], ("AWS_ACCESS_KEY_ID", "")], Some("li ls -"));
        check(&[own[0], own[1], ("AWS_SESSION_TOKEN", "at")], Some("li ls at"));
        let aws = [("AWS_ACCESS_KEY_ID", "ai"), ("AWS_SECRET_ACCESS_KEY", "as")];
        check(&[own[0], own[1], aws[0], aws[1]], None);
    }

    #[test]
    fn says_what_is_missing_of_a_pair() {
        for (environment, expected) in [
            (&[][..], "no keys were found; set access-key-id"),
            (
                &["AWS_ACCESS_KEY_ID"],
                "no keys were found in the environment but an access key ID, without its secret;",
            ),
            (
                &["LITESTREAM_SECRET_ACCESS_KEY"],
                "no keys were found in the environment but a secret access key, without its ID;",
            ),
            (&["AWS_PROFILE"], "no keys were found, nor in the profile \"x\";"),
        ] {
            let variable = |name: &str| environment.contains(&name).then(|| "x".to_owned());
            let text = none_found(variable);
            assert!(text.starts_with(expected), "{text}");
        }
    }

    #[test]
    fn prefers_the_configuration() {
        let mut location = S3Location {
            access_key_id: Some("ci".into()),
            secret_access_key: Some(Secret::new("cs")),
            ..S3Location::default()
        };
        let found = given(&location, |_| Some("x".into())).unwrap().unwrap();
        assert_eq!((found.access_key_id(), found.session_token()), ("ci", None));
        location.secret_access_key = None;
        assert!(given(&location, |_| Some("x".into())).is_err());
    }
}
