//! What `penstock run` was told. What the program makes of it, where a default depends on the mode, is in
//! `args/resolved.rs`.

mod resolved;
mod values;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{BoolishValueParser, NonEmptyStringValueParser};
use ipnet::IpNet;
use penstock_otlp::Endpoint;

pub(crate) use values::{
    AccessLogForm, GatewayService, LogForm, NamespacedName, PortMapping, ProxyProtocolMode, ResolverAddress,
};

const NOTES: &str = "RUST_LOG filters the log, such as `info` (the default) or `penstock_dataplane=debug,warn`.
SIGTERM and SIGINT drain, a second one ends at once. Exit codes: 0 drained, 1 failed or second signal, 2 wrong usage.";

/// Flags of `run`. Each is also an environment variable; repeatable ones are comma separated there.
#[derive(Clone, Debug, Args)]
#[command(after_help = NOTES)]
pub(crate) struct RunArgs {
    /// Standalone: serve what the .yaml, .yml and .json files in this folder say
    #[arg(long, env = "PENSTOCK_MANIFESTS", value_name = "DIR", conflicts_with = "kubeconfig")]
    pub(crate) manifests: Option<PathBuf>,

    /// How to reach the API server [default: the Pod's service account, else $KUBECONFIG, else ~/.kube/config]
    #[arg(long, env = "PENSTOCK_KUBECONFIG", value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// Which ApplicationGateways are ours
    #[arg(long, env = "PENSTOCK_CLASS", value_name = "NAME", default_value = penstock_api::DEFAULT_CLASS, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) class: String,

    /// Only this namespace, may be given several times; Roles are enough then [default: all]
    #[arg(long = "watch-namespace", env = "PENSTOCK_WATCH_NAMESPACE", value_name = "NS", value_delimiter = ',', value_parser = values::namespace)]
    pub(crate) watch_namespaces: Vec<String>,

    /// Keep what was read last in this folder, and serve it when the API server does not answer a start within 3 s. It holds private keys: use an emptyDir of medium Memory [default: none]
    #[arg(long, env = "PENSTOCK_SNAPSHOT_DIR", value_name = "DIR", conflicts_with = "manifests")]
    pub(crate) snapshot_dir: Option<PathBuf>,

    /// Where listeners bind [default: :: with IPv4 mapped, else 0.0.0.0]
    #[arg(long, env = "PENSTOCK_BIND_ADDRESS", value_name = "IP")]
    pub(crate) bind_address: Option<IpAddr>,

    /// Bind LOCAL instead of listener port PORT, such as 80=8080; may be given several times. Headers and redirects still say PORT
    #[arg(long = "map-port", env = "PENSTOCK_MAP_PORT", value_name = "PORT=LOCAL", value_delimiter = ',')]
    pub(crate) map_ports: Vec<PortMapping>,

    /// Where metrics, health and status are served [default: 127.0.0.1:9090 standalone, 0.0.0.0:9090 in a cluster]
    #[arg(long, env = "PENSTOCK_ADMIN_ADDRESS", value_name = "ADDR")]
    pub(crate) admin_address: Option<SocketAddr>,

    /// Data-plane threads [default: the CPU limit of the cgroup, else cores]
    #[arg(long, env = "PENSTOCK_WORKERS", value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,

    /// A Service for each gateway, or listeners on their own ports behind whatever is in front [default: own in a cluster]
    #[arg(long, env = "PENSTOCK_GATEWAY_SERVICE", value_name = "WHOSE")]
    pub(crate) gateway_service: Option<GatewayService>,

    /// With --gateway-service shared: the Service whose addresses go into status
    #[arg(long, env = "PENSTOCK_PUBLISH_SERVICE", value_name = "NS/NAME")]
    pub(crate) publish_service: Option<NamespacedName>,

    /// After SIGTERM, accept for so long [default: 15s in a cluster, 0s standalone]
    #[arg(long, env = "PENSTOCK_DRAIN_DELAY", value_name = "DURATION", value_parser = values::duration)]
    pub(crate) drain_delay: Option<Duration>,

    /// After that, let connections end for so long
    #[arg(long, env = "PENSTOCK_DRAIN_TIMEOUT", value_name = "DURATION", default_value = "30s", value_parser = values::duration)]
    pub(crate) drain_timeout: Duration,

    /// Last part of --drain-timeout, over which WebSockets are closed [default: a tenth of it]
    #[arg(long, env = "PENSTOCK_DRAIN_SPREAD", value_name = "DURATION", value_parser = values::duration)]
    pub(crate) drain_spread: Option<Duration>,

    /// Whose forwarding headers and PROXY headers are believed where a gateway does not say; comma separated [default: nobody's]
    #[arg(long, env = "PENSTOCK_TRUSTED_PROXIES", value_name = "CIDR", value_delimiter = ',', value_parser = values::network)]
    pub(crate) trusted_proxies: Vec<IpNet>,

    /// PROXY protocol from trusted proxies where a gateway does not say
    #[arg(long, env = "PENSTOCK_PROXY_PROTOCOL", value_name = "MODE", default_value = "off")]
    pub(crate) proxy_protocol: ProxyProtocolMode,

    /// Client connections that a listener's port may have; further ones are closed [default: no limit but the open files]
    #[arg(long, env = "PENSTOCK_MAX_CONNECTIONS_PER_LISTENER", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections_per_listener: Option<u32>,

    /// Client connections that one address (IPv6: one /64) may have; further ones are closed. Trusted proxies have no limit [default: no limit]
    #[arg(long, env = "PENSTOCK_MAX_CONNECTIONS_PER_CLIENT", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections_per_client: Option<u32>,

    /// A request head that does not come in time is answered with 408
    #[arg(long, env = "PENSTOCK_REQUEST_HEAD_TIMEOUT", value_name = "DURATION", default_value = "60s", value_parser = values::duration)]
    pub(crate) request_head_timeout: Duration,

    /// Services of type ExternalName as backends
    #[arg(long, env = "PENSTOCK_ALLOW_EXTERNAL_NAME", value_parser = BoolishValueParser::new())]
    pub(crate) allow_external_name: bool,

    /// Server to ask for DNS names of backends, which must be complete then; may be given several times [default: as /etc/resolv.conf and /etc/hosts say]
    #[arg(long = "resolver", env = "PENSTOCK_RESOLVER", value_name = "ADDR[:PORT]", value_delimiter = ',')]
    pub(crate) resolvers: Vec<ResolverAddress>,

    /// Duration histograms carry the rule, too
    #[arg(long, env = "PENSTOCK_METRICS_PER_RULE", value_parser = BoolishValueParser::new())]
    pub(crate) metrics_per_rule: bool,

    /// Metric series of a rule, listener or backend that is gone stay for so long
    #[arg(long, env = "PENSTOCK_METRICS_RETENTION", value_name = "DURATION", default_value = "10m", value_parser = values::duration)]
    pub(crate) metrics_retention: Duration,

    /// Access log to standard output [default: off standalone, json in a cluster]
    #[arg(long, env = "PENSTOCK_ACCESS_LOG", value_name = "FORM")]
    pub(crate) access_log: Option<AccessLogForm>,

    /// Of requests where nothing went wrong, log this share: 0 none, 1 all. Errors, refusals and WebSockets are always logged
    #[arg(long, env = "PENSTOCK_ACCESS_LOG_SAMPLE", value_name = "SHARE", default_value = "1", value_parser = values::share)]
    pub(crate) access_log_sample: f64,

    /// Send traces to this collector: OTLP over HTTP, to URL/v1/traces [default: $OTEL_EXPORTER_OTLP_ENDPOINT, else none are made]
    #[arg(long, env = "PENSTOCK_OTLP_ENDPOINT", value_name = "URL")]
    pub(crate) otlp_endpoint: Option<Endpoint>,

    /// Of requests that come without a trace, sample this share: 0 none, 1 all. In a trace that a client began, its own decision counts
    #[arg(long, env = "PENSTOCK_TRACE_SAMPLE", value_name = "SHARE", default_value = "0.01", value_parser = values::share)]
    pub(crate) trace_sample: f64,

    /// Form of the log on standard error [default: text standalone, json in a cluster]
    #[arg(long, env = "PENSTOCK_LOG_FORMAT", value_name = "FORM")]
    pub(crate) log_format: Option<LogForm>,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn run(flags: &[&str]) -> Result<RunArgs, clap::Error> {
        match Cli::try_parse_from(["penstock", "run"].iter().chain(flags))?.command {
            Command::Run(args) => Ok(*args),
            other => panic!("{other:?} is not run"),
        }
    }

    #[test]
    fn repeated_and_listed_are_the_same() {
        let listed = run(&["--watch-namespace", "a,b", "--map-port", "80=8080,443=8443"]).unwrap();
        let repeated =
            run(&["--watch-namespace=a", "--watch-namespace=b", "--map-port=80=8080", "--map-port=443=8443"]).unwrap();
        assert_eq!(listed.watch_namespaces, repeated.watch_namespaces);
        assert_eq!(listed.port_map(), repeated.port_map());
        assert_eq!(listed.port_map().into_iter().collect::<Vec<_>>(), [(80, 8080), (443, 8443)]);
    }

    #[test]
    fn a_folder_and_a_cluster_exclude_each_other() {
        assert!(run(&["--manifests", "a", "--kubeconfig", "b"]).is_err());
    }

    #[test]
    fn values_are_checked() {
        for flags in [
            ["--map-port", "80"],
            ["--map-port", "0=80"],
            ["--drain-delay", "15"],
            ["--trusted-proxies", "10.0.0.0/40"],
            ["--publish-service", "name"],
            ["--watch-namespace", "A_B"],
            ["--workers", "0"],
            ["--class", ""],
            ["--resolver", "dns.example.net"],
            ["--resolver", "10.0.0.10:0"],
            ["--access-log-sample", "1.5"],
            ["--access-log-sample", "NaN"],
            ["--trace-sample", "2"],
            ["--otlp-endpoint", "collector:4317"],
        ] {
            let error = run(&flags).expect_err(flags[1]).to_string();
            assert!(error.contains(flags[0]), "{error}");
        }
    }

    #[test]
    fn every_flag_has_its_environment_variable() {
        use clap::CommandFactory as _;
        let cli = Cli::command();
        let run = cli.find_subcommand("run").unwrap();
        let flags: Vec<_> = run.get_arguments().filter(|flag| flag.get_id() != "help").collect();
        assert!(flags.len() > 20, "{}", flags.len());
        for flag in flags {
            let name = flag.get_long().unwrap().to_uppercase().replace('-', "_");
            assert_eq!(flag.get_env().unwrap().to_str().unwrap(), format!("PENSTOCK_{name}"));
        }
    }
}
