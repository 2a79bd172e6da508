//! The whole check of an object: structure first, then the CEL rules that kube evaluates as the API server would.

use kube_core::cel::{CompiledSchema, Validator, compile_schema};
use serde_json::Value;

use super::structure::{self, Patterns};
use super::violation::Violation;
use super::{apply_defaults, of, prune};
use crate::k8s::CustomResourceDefinition;

/// Why a schema cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CheckerError {
    /// The definition has no schema for its stored version.
    #[error("CustomResourceDefinition {0} has no schema for its stored version")]
    NoSchema(String),
    /// A pattern is no regular expression.
    #[error("CustomResourceDefinition {name}: a pattern is no regular expression: {source}")]
    Pattern {
        /// The definition.
        name: String,
        /// What is wrong with the pattern.
        source: regex::Error,
    },
    /// A CEL rule does not compile.
    #[error("CustomResourceDefinition {name}: {rule}")]
    Rule {
        /// The definition.
        name: String,
        /// The rule and what is wrong with it.
        rule: String,
    },
}

/// A compiled schema, to check many objects with.
pub struct Checker {
    schema: Value,
    patterns: Patterns,
    rules: CompiledSchema,
}

impl Checker {
    /// Compiles the schema of a definition's stored version.
    ///
    /// # Errors
    /// When the definition has no schema, or one that cannot be compiled.
    pub fn new(crd: &CustomResourceDefinition) -> Result<Self, CheckerError> {
        let name = || crd.metadata.name.clone().unwrap_or_default();
        let schema = of(crd);
        if schema.is_null() {
            return Err(CheckerError::NoSchema(name()));
        }
        let mut patterns = Patterns::new();
        structure::patterns(&schema, &mut patterns).map_err(|source| CheckerError::Pattern { name: name(), source })?;
        let rules = compile_schema(&schema);
        if let Some(error) = rules.compilation_errors().first() {
            return Err(CheckerError::Rule { name: name(), rule: error.to_string() });
        }
        Ok(Self { schema, patterns, rules })
    }

    /// The schema as JSON.
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// The object as the API server would store it: defaults filled in, nulls and unknown fields gone.
    pub fn admit(&self, value: &Value) -> Value {
        let mut admitted = value.clone();
        prune(&mut admitted, &self.schema);
        apply_defaults(&mut admitted, &self.schema);
        admitted
    }

    /// Everything that the schema refuses; empty when the API server would take the object. Unknown fields are no refusal here.
    ///
    /// CEL rules are asked only about an object of the right shape: on another one their answers would be noise.
    pub fn check(&self, value: &Value) -> Vec<Violation> {
        let admitted = self.admit(value);
        let mut found = Vec::new();
        structure::check(&admitted, &self.schema, "", &self.patterns, &mut found);
        if found.is_empty()
            && let Err(errors) = Validator::new().validate_compiled(&self.rules, &admitted, None)
        {
            found.extend(errors.into_iter().map(|error| match at(&admitted, &error.field_path) {
                Some(value) => Violation::new(&error.field_path, value, error.message),
                None => Violation::missing(error.field_path, error.message),
            }));
        }
        found
    }
}

/// The value at a path such as `spec.listeners[0].tls`.
fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split(['.', '[', ']']).filter(|step| !step.is_empty()).try_fold(value, |value, step| match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        other => other.get(step),
    })
}
