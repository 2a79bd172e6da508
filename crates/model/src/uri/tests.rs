//! Tests of path normalization: tables by section of RFC 3986, then properties.

use proptest::prelude::*;

use super::*;

fn path(text: &str) -> String {
    normalize(text).expect(text).path.into_owned()
}

#[test]
fn dot_segments_are_removed() {
    // RFC 3986 5.2.4 and 5.4, on absolute paths.
    for (given, normal) in [
        ("/a/b/c/./../../g", "/a/g"),
        ("/b/c/.", "/b/c/"),
        ("/b/c/./", "/b/c/"),
        ("/b/c/..", "/b/"),
        ("/b/c/../", "/b/"),
        ("/b/c/../g", "/b/g"),
        ("/b/c/../..", "/"),
        ("/b/c/../../g", "/g"),
        ("/b/c/../../../g", "/g"),
        ("/../g", "/g"),
        ("/./g", "/g"),
        ("/b/c/./g/", "/b/c/g/"),
        ("/b/c/g/../h", "/b/c/h"),
        ("/.", "/"),
        ("/..", "/"),
        ("/../../..", "/"),
        ("/a//../b", "/a/b"),
        ("/..//a", "//a"),
        ("//..", "/"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/a/%2e/b", "/a/b"),
    ] {
        let found = normalize(given).expect(given);
        assert_eq!((&*found.path, found.dots_removed), (normal, true), "{given}");
    }
}

#[test]
fn names_with_dots_are_no_dot_segments() {
    for given in ["/.well-known/x", "/...", "/a..", "/..a", "/a/.b/..c/d.", "/a.b", "/.;/a", "/..;/a"] {
        let found = normalize(given).expect(given);
        assert_eq!((&*found.path, found.dots_removed), (given, false));
    }
}

#[test]
fn escaped_unreserved_characters_are_unescaped() {
    // RFC 3986 6.2.2.2 with the characters of 2.3.
    assert_eq!(path("/%41%7a%30%2D%2e%5F%7E"), "/Az0-._~");
    assert_eq!(path("/%7Euser/x"), "/~user/x");
    let found = normalize("/%7euser").expect("a path");
    assert!(!found.dots_removed, "then the bytes are sent as received");
}

#[test]
fn other_escapes_stay_in_upper_case() {
    // RFC 3986 6.2.2.1.
    assert_eq!(path("/%3a%e2%82%ac%20%25"), "/%3A%E2%82%AC%20%25");
    // One decoding, not two.
    assert_eq!(path("/%252e%252e/%2541"), "/%252e%252e/%2541");
}

#[test]
fn an_escaped_slash_is_no_slash_and_empty_segments_stay() {
    assert_eq!(path("/a%2fb"), "/a%2Fb");
    assert_eq!(path("/a%2fb/../c"), "/c");
    assert_eq!(path("//a///b/"), "//a///b/");
    assert_eq!(path("/a%5cb"), "/a%5Cb");
}

#[test]
fn a_dot_segment_behind_an_escaped_slash_is_refused() {
    for given in [
        "/a/..%2fb",
        "/a%2F../b",
        "/%2e%2e%2fb",
        "/a%5c..%5Cb",
        "/.%2f",
        "/x%2f%2e",
        "/a/..%5c..%2fb",
        "/ok/x%2f../../y",
    ] {
        assert_eq!(normalize(given), Err(PathError::HiddenDotSegment), "{given}");
    }
    assert_eq!(path("/a%2F..b"), "/a%2F..b");
    assert_eq!(path("/a.%2Fb"), "/a.%2Fb");
}

#[test]
fn what_is_no_path_is_refused() {
    for given in ["", "*", "a", "a/b", "%2Fa", "http://a/"] {
        assert_eq!(normalize(given), Err(PathError::NotAbsolute), "{given:?}");
    }
    for given in ["/%", "/%4", "/%4/", "/%zz", "/%+1", "/a%", "/%é1", "/%1é"] {
        assert_eq!(normalize(given), Err(PathError::BadEscape), "{given:?}");
    }
    for given in ["/a\\b", "/\\", "/..\\"] {
        assert_eq!(normalize(given), Err(PathError::Backslash), "{given:?}");
    }
    for given in ["/a\0", "/a\r\n", "/\x7f", "/a%00", "/\t"] {
        assert_eq!(normalize(given), Err(PathError::Control), "{given:?}");
    }
}

#[test]
fn what_is_normal_is_borrowed() {
    for given in ["/", "/a/b", "/.well-known/x", "/a%2Fb", "/%E2%82%AC.x", "/ü"] {
        assert!(matches!(normalize(given).expect(given).path, Cow::Borrowed(_)), "{given}");
    }
}

fn any_path() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/", "/", "//", ".", "..", "/.", "/..", "a", "B", "%2e", "%2E", "%2f", "%2F", "%5c", "%25", "%41", "%c3%a9",
        "é", "~", ";", "%", "\\", "%0", "2e",
    ]);
    prop::collection::vec(piece, 0..10).prop_map(|pieces| format!("/{}", pieces.concat()))
}

/// RFC 3986 5.2.4 word for word, for paths that start with a slash.
fn by_the_book(path: &str) -> String {
    let (mut input, mut output) = (path.to_owned(), String::new());
    while !input.is_empty() {
        if input.starts_with("/./") || input == "/." {
            input = format!("/{}", input.get(3..).unwrap_or_default());
        } else if input.starts_with("/../") || input == "/.." {
            input = format!("/{}", input.get(4..).unwrap_or_default());
            output.truncate(output.rfind('/').unwrap_or(0));
        } else {
            let end = input[1..].find('/').map_or(input.len(), |at| at + 1);
            output.push_str(&input[..end]);
            input.drain(..end);
        }
    }
    output
}

proptest! {
    #[test]
    fn normalizing_twice_changes_nothing_more(given in any_path()) {
        let Ok(once) = normalize(&given) else { return Ok(()) };
        let twice = normalize(&once.path).expect("a normal path");
        prop_assert_eq!(&twice.path, &once.path);
        prop_assert!(!twice.dots_removed);
        prop_assert!(matches!(twice.path, Cow::Borrowed(_)));
    }

    #[test]
    fn no_dot_segment_is_left_even_after_decoding_slashes(given in any_path()) {
        let Ok(normal) = normalize(&given) else { return Ok(()) };
        prop_assert!(normal.path.starts_with('/'));
        let decoded = normal.path.replace("%2F", "/").replace("%5C", "/").replace("%2E", ".").replace("%2e", ".");
        // `%252e` is a percent sign followed by `2e`: what remains of it here is no escape of a dot.
        prop_assume!(!normal.path.contains("%25"));
        prop_assert!(!decoded.split('/').any(|segment| matches!(segment, "." | "..")), "{decoded}");
    }

    #[test]
    fn dots_are_removed_as_the_rfc_says(given in any_path()) {
        let Ok(normal) = normalize(&given) else { return Ok(()) };
        let unescaped = unescape(&given).expect("good escapes");
        prop_assert_eq!(&*normal.path, by_the_book(&unescaped));
        prop_assert_eq!(normal.dots_removed, *normal.path != *unescaped);
    }

    #[test]
    fn nothing_makes_it_panic(given in "\\PC{0,12}") {
        if let Ok(normal) = normalize(&given) {
            prop_assert!(normal.path.len() <= given.len());
        }
    }
}
