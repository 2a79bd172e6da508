//! The metrics of the program under test: fetched, parsed, asked by name and labels.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail};

use crate::client;

/// One line of the text format.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The metric's name, with `_bucket`, `_sum` or `_count` for parts of a histogram.
    pub name: String,
    /// Its labels, unescaped.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// All samples of one scrape.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    /// In the order of the text.
    pub samples: Vec<Sample>,
}

impl Metrics {
    /// Scrapes `/metrics` of an admin server.
    ///
    /// # Errors
    /// No connection, another status than 200, or text that is not the exposition format.
    pub async fn fetch(admin: SocketAddr) -> Result<Self> {
        let answer = client::get(admin, "admin", "/metrics").await?;
        if answer.status != 200 {
            bail!("/metrics of {admin} answered {}: {}", answer.status, answer.text());
        }
        Self::parse(&answer.text())
    }

    /// Parses the text format.
    ///
    /// # Errors
    /// The first line that is not a comment or a sample.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#'));
        let samples = lines.map(|l| sample(l).with_context(|| format!("not a sample: {l}"))).collect::<Result<_>>()?;
        Ok(Self { samples })
    }

    /// The samples of this name that carry at least these labels.
    pub fn matching<'a>(&'a self, name: &'a str, labels: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |s| {
            s.name == name && labels.iter().all(|(k, v)| s.labels.get(*k).is_some_and(|found| found == v))
        })
    }

    /// The value of the one sample of this name that carries at least these labels.
    ///
    /// # Panics
    /// When several do: then the test must say more labels, or ask for the [`sum`](Self::sum).
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found: Vec<_> = self.matching(name, labels).collect();
        assert!(found.len() < 2, "{name} {labels:?} is ambiguous: {found:?}");
        found.first().map(|s| s.value)
    }

    /// The sum over all samples of this name that carry at least these labels; 0 when there is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|s| s.value).sum()
    }
}

fn sample(line: &str) -> Result<Sample> {
    let at = line.find(['{', ' ']).context("no value")?;
    let (name, mut rest) = line.split_at(at);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while let Some((label, after)) = rest.split_once("=\"") {
            if rest.starts_with('}') {
                break;
            }
            let (value, after) = quoted(after)?;
            labels.insert(label.trim_start_matches([',', ' ']).to_owned(), value);
            rest = after;
        }
        rest = rest.trim_start_matches([',', ' ']).strip_prefix('}').context("labels do not end")?;
    }
    let value = rest.split_whitespace().next().context("no value")?;
    Ok(Sample { name: name.to_owned(), labels, value: value.parse().with_context(|| format!("the value {value}"))? })
}

/// A label's value up to its closing quote, unescaped, and what follows.
fn quoted(text: &str) -> Result<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next().context("ends in a backslash")?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    bail!("a label's value does not end")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP a_total Things.
# TYPE a_total counter
a_total{code="200",rule="x/y"} 3
a_total{code="502",rule="x/y"} 1.5
a_total{code="200",rule="q\"uo}te, \\ \n"} 4
up 1
big +Inf
h_bucket{le="+Inf"} 7 1700000000
"#;

    #[test]
    fn finds_by_labels() {
        let m = Metrics::parse(TEXT).unwrap();
        assert_eq!(m.samples.len(), 6);
        assert_eq!(m.value("a_total", &[("code", "502")]), Some(1.5));
        assert_eq!(m.value("up", &[]), Some(1.0));
        assert_eq!(m.value("big", &[]), Some(f64::INFINITY));
        assert_eq!(m.value("h_bucket", &[("le", "+Inf")]), Some(7.0));
        assert_eq!(m.value("a_total", &[("code", "404")]), None);
        assert!((m.sum("a_total", &[("code", "200")]) - 7.0).abs() < 1e-9);
    }

    #[test]
    fn unescapes_labels() {
        let m = Metrics::parse(TEXT).unwrap();
        assert_eq!(m.value("a_total", &[("rule", "q\"uo}te, \\ \n")]), Some(4.0));
    }

    #[test]
    #[should_panic(expected = "ambiguous")]
    fn two_candidates_are_no_answer() {
        let _ = Metrics::parse(TEXT).unwrap().value("a_total", &[("code", "200")]);
    }

    #[test]
    fn refuses_what_is_no_sample() {
        for bad in ["nothing", "a{b=\"c} 1", "a{b=\"c\" 1", "a one"] {
            assert!(Metrics::parse(bad).is_err(), "{bad}");
        }
    }
}
