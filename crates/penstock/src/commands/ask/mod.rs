//! Asking running instances: the admin server of one, or those of the Pods of a cluster.

mod admin;
mod pods;

use std::fmt;
use std::time::Duration;

use anyhow::bail;

use crate::cli::InstanceArgs;
use pods::RunningPod;

/// How long the whole answer of one instance may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// What YAML is called.
const YAML: &str = "application/yaml";

/// A running instance.
pub(super) enum Instance {
    /// Whose admin server can be reached.
    Admin(http::Uri),
    /// Behind the API server.
    Pod(RunningPod),
}

/// A page that there is, or what the admin server says instead.
pub(super) type Page = Result<String, String>;

/// The instances that the flags mean.
pub(super) async fn instances(args: &InstanceArgs) -> anyhow::Result<Vec<Instance>> {
    if args.cluster {
        return Ok(pods::pods(args).await?.into_iter().map(Instance::Pod).collect());
    }
    Ok(vec![Instance::Admin(args.admin.clone())])
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin(admin) => write!(f, "--admin {admin}"),
            Self::Pod(pod) => write!(f, "Pod {pod}"),
        }
    }
}

impl Instance {
    /// What its admin server answers to a path; `Err` inside: that there is no such thing.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Page> {
        self.ask(path, None).await
    }

    /// The same to YAML that is posted there.
    pub(super) async fn post(&self, path: &str, yaml: String) -> anyhow::Result<Page> {
        self.ask(path, Some(yaml)).await
    }

    async fn ask(&self, path: &str, yaml: Option<String>) -> anyhow::Result<Page> {
        let asked = async {
            match self {
                Self::Admin(admin) => admin::ask(admin, path, yaml).await,
                Self::Pod(pod) => pod.ask(path, yaml).await,
            }
        };
        match tokio::time::timeout(DEADLINE, asked).await {
            Ok(answer) => answer,
            Err(_) => bail!("{self} did not answer in {DEADLINE:?}: is that the admin address?"),
        }
    }
}
