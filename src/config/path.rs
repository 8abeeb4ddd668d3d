use std::path::{Component, Path, PathBuf};

/// The absolute form of a path as users write it, without `.` and `..`. It is relative to the home
/// directory after `~`, else to the working directory.
pub fn absolute(text: &str) -> Result<PathBuf, String> {
    let home = || {
        std::env::var_os("HOME")
            .filter(|home| !home.is_empty())
            .ok_or_else(|| format!("cannot tell what ~ is in {text:?}: $HOME is not set"))
    };
    let path = match text.strip_prefix('~') {
        Some("") => home()?.into(),
        Some(rest) if rest.starts_with('/') => {
            Path::new(&home()?).join(rest.trim_start_matches('/'))
        }
        _ => PathBuf::from(text),
    };
    let path = std::path::absolute(&path)
        .map_err(|error| format!("cannot tell what directory {text:?} is in: {error}"))?;
    Ok(cleaned(&path))
}

/// Removes `..` by name, without following links, as Litestream does.
fn cleaned(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                cleaned.pop();
            }
            _ => cleaned.push(component),
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_absolute_and_clean() {
        let home = std::env::var("HOME").unwrap();
        let here = std::env::current_dir().unwrap();
        for (text, expected) in [
            ("/a//b/./c/", PathBuf::from("/a/b/c")),
            ("/a/../../b", PathBuf::from("/b")),
            ("a/b", here.join("a/b")),
            ("~", PathBuf::from(&home)),
            ("~/a", Path::new(&home).join("a")),
            ("~a", here.join("~a")),
        ] {
            assert_eq!(absolute(text), Ok(expected), "{text}");
        }
    }
}
