//! YAML documents with the line on which each starts. The only place that knows the YAML library.
//!
//! Documents are told apart by hand, because the library does not say where they start: `---` at the start of a line
//! is a separator everywhere (YAML 1.2, 9.1.4), so no text of a document can be mistaken for one.

use serde::Deserialize;
use serde_json::Value;

/// One document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document {
    /// The line of its first content, from 1.
    pub(crate) line: usize,
    /// What it says.
    pub(crate) value: Value,
}

/// Why a text is no YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct YamlError {
    /// Where, from 1.
    pub(crate) line: usize,
    /// What the library says, without a place.
    pub(crate) message: String,
}

/// The documents of a text; empty ones are left out.
pub(crate) fn documents(text: &str) -> Result<Vec<Document>, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    let mut start = 0;
    let mut part = String::new();
    for (at, line) in text.lines().enumerate() {
        let marker = line == "---" || line.starts_with("--- ") || line.starts_with("---\t");
        if marker || line == "..." {
            documents.extend(document(&part, start)?);
            start = at;
            part.clear();
            // What follows the marker on its line belongs to the document; the line stays for the count.
            part.push_str(if marker { line.get(3..).unwrap_or_default() } else { "" });
        } else {
            part.push_str(line);
        }
        part.push('\n');
    }
    documents.extend(document(&part, start)?);
    Ok(documents)
}

/// A document whose first line is line `start` (from 0) of the text.
fn document(text: &str, start: usize) -> Result<Option<Document>, YamlError> {
    let content = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with(['#', '%']);
    let Some(first) = text.lines().position(content) else { return Ok(None) };
    let error = |error: serde_yaml::Error| {
        let place = error.location();
        let message = error.to_string();
        let message = match (&place, message.find(" at line ")) {
            (Some(_), Some(at)) => message.get(..at).unwrap_or(&message).to_owned(),
            _ => message,
        };
        YamlError { line: start + place.map_or(first + 1, |place| place.line()), message }
    };
    let mut value = serde_yaml::Value::deserialize(serde_yaml::Deserializer::from_str(text)).map_err(error)?;
    value.apply_merge().map_err(error)?;
    let line = start + first + 1;
    match json(value) {
        Ok(Value::Null) => Ok(None),
        Ok(value) => Ok(Some(Document { line, value })),
        Err(message) => Err(YamlError { line, message }),
    }
}

/// The same value in JSON, as the API server would get it.
fn json(value: serde_yaml::Value) -> Result<Value, String> {
    Ok(match value {
        serde_yaml::Value::Null => Value::Null,
        serde_yaml::Value::Bool(b) => Value::Bool(b),
        serde_yaml::Value::String(s) => Value::String(s),
        serde_yaml::Value::Number(n) => {
            match (n.as_i64(), n.as_u64(), n.as_f64().and_then(serde_json::Number::from_f64)) {
                (Some(i), _, _) => i.into(),
                (None, Some(u), _) => u.into(),
                (None, None, Some(f)) => Value::Number(f),
                (None, None, None) => return Err(format!("the number {n} is not one of JSON")),
            }
        }
        serde_yaml::Value::Sequence(items) => Value::Array(items.into_iter().map(json).collect::<Result<_, _>>()?),
        serde_yaml::Value::Mapping(map) => {
            let entry = |(key, value): (serde_yaml::Value, serde_yaml::Value)| {
                let key = match key {
                    serde_yaml::Value::String(s) => s,
                    serde_yaml::Value::Number(n) => n.to_string(),
                    serde_yaml::Value::Bool(b) => b.to_string(),
                    other => return Err(format!("the key {other:?} is no text")),
                };
                Ok((key, json(value)?))
            };
            Value::Object(map.into_iter().map(entry).collect::<Result<_, _>>()?)
        }
        serde_yaml::Value::Tagged(tagged) => return Err(format!("the tag {} has no meaning here", tagged.tag)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_know_their_lines() {
        let text = "# a comment\n\nkind: A\n---\n---\n# only a comment\n--- # and another\n\nkind: B\ntext: |\n  --- no marker\n...\nkind: C\n";
        let found = documents(text).unwrap();
        let lines: Vec<_> = found.iter().map(|d| (d.line, d.value["kind"].as_str().unwrap())).collect();
        assert_eq!(lines, [(3, "A"), (9, "B"), (13, "C")]);
        assert_eq!(found[1].value["text"], "--- no marker\n");
    }

    #[test]
    fn errors_know_their_lines() {
        let error = documents("kind: A\n---\nkind: B\nspec: [1, 2\nmore: x\n").unwrap_err();
        assert!((4..=6).contains(&error.line), "{error:?}");
        assert!(!error.message.contains(" at line "), "{error:?}");
        let error = documents("a: 1\nb: 2\na: 3\n").unwrap_err();
        assert!(error.message.contains("duplicate"), "{error:?}");
    }

    #[test]
    fn values_are_those_of_json() {
        let text = "base: &b {x: 1}\nmerged: {<<: *b, y: 2.5}\n8080: number\nbig: 18446744073709551615\nnone: ~\n";
        let found = documents(text).unwrap();
        let expected =
            json!({"base": {"x": 1}, "merged": {"x": 1, "y": 2.5}, "8080": "number", "big": u64::MAX, "none": null});
        assert_eq!(found[0].value, expected);
        assert!(documents("a: !secret x\n").unwrap_err().message.contains("!secret"));
        assert!(documents("a: .inf\n").is_err());
    }

    #[test]
    fn an_empty_text_has_no_documents() {
        for text in ["", "\n\n", "---\n", "# nothing\n", "null\n"] {
            assert_eq!(documents(text).unwrap(), [], "{text:?}");
        }
    }
}
