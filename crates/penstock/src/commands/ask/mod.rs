//! Asking running instances: the admin server of one, or those of the Pods of a cluster.

mod admin;
mod pods;

use std::fmt;
use std::time::Duration;

use anyhow::bail;
use http::StatusCode;

use crate::cli::InstanceArgs;
use pods::RunningPod;

/// A running instance.
pub(super) enum Instance {
    /// Whose admin server can be reached.
    Admin(http::Uri),
    /// Behind the API server.
    Pod(RunningPod),
}

/// What an admin server is asked.
pub(super) enum Question<'a> {
    /// For a page.
    Get(&'a str),
    /// To do something, with a text of this type.
    Post(&'a str, &'a str, &'a str),
}

impl Question<'_> {
    /// The request, below a path.
    fn request(&self, base: &str) -> http::request::Builder {
        match self {
            Self::Get(path) => http::Request::get(format!("{base}{path}")),
            Self::Post(path, kind, _) => {
                http::Request::post(format!("{base}{path}")).header(http::header::CONTENT_TYPE, *kind)
            }
        }
    }

    fn body(&self) -> &[u8] {
        match self {
            Self::Get(_) => &[],
            Self::Post(_, _, text) => text.as_bytes(),
        }
    }

    /// What the API server calls it in a Role.
    fn verb(&self) -> &'static str {
        match self {
            Self::Get(_) => "get",
            Self::Post(..) => "create",
        }
    }

    /// How long the whole answer of one instance may take. An order is carried out in 45 s.
    fn deadline(&self) -> Duration {
        match self {
            Self::Get(_) => Duration::from_secs(10),
            Self::Post(..) => Duration::from_secs(55),
        }
    }
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
        match self.ask(&Question::Get(path)).await? {
            (code, text) if code.is_success() => Ok(Ok(text)),
            (StatusCode::NOT_FOUND, text) => Ok(Err(text)),
            (code, _) => bail!("{self}: {path} answers {code}: is that the admin address?"),
        }
    }

    /// What it answers to a text of this type.
    pub(super) async fn post(&self, path: &str, kind: &str, text: &str) -> anyhow::Result<(StatusCode, String)> {
        self.ask(&Question::Post(path, kind, text)).await
    }

    async fn ask(&self, question: &Question<'_>) -> anyhow::Result<(StatusCode, String)> {
        let asked = async {
            match self {
                Self::Admin(admin) => admin::ask(admin, question).await,
                Self::Pod(pod) => pod.ask(question).await,
            }
        };
        let deadline = question.deadline();
        match tokio::time::timeout(deadline, asked).await {
            Ok(answer) => answer,
            Err(_) => bail!("{self} did not answer in {deadline:?}: is that the admin address?"),
        }
    }
}
