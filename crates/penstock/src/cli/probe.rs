//! Arguments of `probe`: whom to ask, and what otherwise than the configuration says. They are Azure's on-demand probe's.

use clap::{Args, ValueEnum};
use penstock_api::gateway::BackendProtocol;

use super::{InstanceArgs, StatusForm};

/// Arguments of `probe`.
#[derive(Debug, Args)]
#[command(after_help = PROBE_NOTES)]
pub(crate) struct ProbeArgs {
    /// Only this pool, as `penstock status` names it, or as namespace/gateway/pool [default: all]
    #[arg(long, value_name = "NAME")]
    pub(crate) pool: Option<String>,
    /// Only under these backend settings [default: all]
    #[arg(long, value_name = "NAME")]
    pub(crate) settings: Option<String>,
    /// Ask in this protocol [default: the probe's]
    #[arg(long, value_name = "PROTOCOL", ignore_case = true)]
    pub(crate) protocol: Option<ProbeProtocol>,
    /// Send this Host and, over TLS, ask for this name [default: the probe's]
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Ask for this path [default: the probe's]
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// Wait so long for an answer, 30s at most [default: the probe's]
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<String>,
    /// Take these status codes, such as 200-399,401 [default: the probe's]
    #[arg(long, value_name = "CODES", value_delimiter = ',')]
    pub(crate) status_codes: Vec<String>,
    /// Look for this text in the body [default: the probe's]
    #[arg(long, value_name = "TEXT")]
    pub(crate) body: Option<String>,
    #[command(flatten)]
    pub(crate) instance: InstanceArgs,
    /// Form of the answer
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub(crate) output: StatusForm,
}

const PROBE_NOTES: &str = "Backends get one request each; the health that decides about traffic stays as it is (HEALTH).
Through --cluster each Pod asks, one after the other: that takes the rights to list pods and to create pods/proxy. What is to be asked
otherwise than the probe says is taken over loopback only: forward the admin port of a Pod, and give --admin.
Exit codes: 0 every backend is up, 1 one is not, or there is none, 2 wrong usage";

/// What a probe on demand speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProbeProtocol {
    /// HTTP/1.1
    Http,
    /// HTTP over TLS, with the TLS of the settings where they have any
    Https,
    /// HTTP/2 without TLS
    H2c,
}

impl From<ProbeProtocol> for BackendProtocol {
    fn from(protocol: ProbeProtocol) -> Self {
        match protocol {
            ProbeProtocol::Http => Self::Http,
            ProbeProtocol::Https => Self::Https,
            ProbeProtocol::H2c => Self::H2c,
        }
    }
}
