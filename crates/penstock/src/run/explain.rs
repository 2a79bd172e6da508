//! `/explain`: the words of `penstock explain` about the configuration that is in the traffic.

use penstock_dataplane::View;
use penstock_model::ClusterId;

use crate::cli::{Question, header};
use crate::explanation::answer;

/// Longer than any request head that would be served.
const LONGEST: usize = 16 * 1024;

/// The answer to a query such as `method=GET&url=http://shop.example.com/&header=X-Tenant: a`, percent-encoded; or what is
/// wrong with it.
pub(super) fn explain(query: &str, view: &View) -> Result<String, String> {
    let question = question(query)?;
    let endpoints = |id: &ClusterId| {
        let endpoints = view.clusters.get(id).map(|cluster| cluster.endpoints()).unwrap_or_default();
        let one = |endpoint: &std::sync::Arc<penstock_dataplane::LiveEndpoint>| match endpoint.health() {
            penstock_dataplane::Health::Down => format!("{} (down)", endpoint.address()),
            _ => endpoint.address().to_string(),
        };
        endpoints.iter().map(one).collect()
    };
    let (text, _) = answer(&view.config, &question, &endpoints).map_err(|error| format!("{error:#}"))?;
    Ok(text)
}

fn question(query: &str) -> Result<Question, String> {
    if query.len() > LONGEST {
        return Err(format!("the question is longer than {LONGEST} bytes: ask a shorter one"));
    }
    let (mut method, mut url, mut headers) = (http::Method::GET, None, Vec::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "method" => method = value.parse().map_err(|_| format!("method {value:?}: it is none, such as GET"))?,
            "url" => url = Some(value.trim().parse().map_err(|error| format!("URL {value}: {error}"))?),
            "header" => headers.push(header(&value).map_err(|error| format!("header {value:?}: {error}"))?),
            _ => return Err(format!("{name:?} is not asked for: method, url and header are")),
        }
    }
    let url = url.ok_or("no URL: ask with ?url=, such as /explain?url=http://shop.example.com/cart")?;
    Ok(Question { method, url, headers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_a_url_and_may_have_more() {
        let asked = question("method=POST&url=http%3A%2F%2Fa.example%2Fb%3Fc&header=X-Tenant%3A+a&header=x:b").unwrap();
        assert_eq!((asked.method.as_str(), asked.url.to_string().as_str()), ("POST", "http://a.example/b?c"));
        assert_eq!(asked.headers.len(), 2);
        assert_eq!(question("url=http://a.example/").unwrap().method, http::Method::GET);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, part) in [
            ("", "?url="),
            ("url=http://a b", "URL http://a b"),
            ("url=http://a/&method=G%20T", "G T"),
            ("url=http://a/&header=none", "no colon"),
            ("uri=http://a/", "\"uri\""),
            (&*format!("url=http://a/{}", "x".repeat(LONGEST)), "shorter"),
        ] {
            let error = question(query).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
