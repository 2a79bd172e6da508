//! The custom resources and the Kubernetes types that Penstock reads.
//!
//! * [`ApplicationGateway`] and [`RoutingRule`]: what users write, with the schema, defaults and CEL rules that the API server enforces.
//! * [`schema`]: the same enforcement without an API server, for the standalone mode and `penstock check`.
//! * [`reasons`]: the closed vocabulary of status conditions.
//! * [`k8s`]: the only place from which the other crates take Kubernetes' own types.

mod constraint;
mod crds;
mod defaults;
mod duration;
pub mod gateway;
pub mod k8s;
pub mod reasons;
pub mod rule;
pub mod schema;

pub use crds::{crd_yaml, crds, crds_yaml};
pub use duration::{Duration, DurationError};
pub use gateway::{ApplicationGateway, ApplicationGatewaySpec, ApplicationGatewayStatus};
pub use rule::{RoutingRule, RoutingRuleSpec, RoutingRuleStatus};

/// The API group of our resources.
pub const GROUP: &str = "penstock.dev";
/// The version of the API group.
pub const VERSION: &str = "v1alpha1";
/// The `apiVersion` of our resources: group and version.
pub const API_VERSION: &str = "penstock.dev/v1alpha1";
/// The field manager under which Penstock applies objects and status.
pub const FIELD_MANAGER: &str = "penstock";
/// The class served when neither the gateway nor the process names one.
pub const DEFAULT_CLASS: &str = "penstock";
