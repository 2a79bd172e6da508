//! What the program uses: flags with the defaults of the mode filled in.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use penstock_model::ClientAddress;
use penstock_runtime::drain::DrainPlanError;
use penstock_runtime::{DrainPlan, LogFormat};
use penstock_translate::Options;

use super::{AccessLogForm, GatewayService, RunArgs};

/// The port of the admin server.
const ADMIN_PORT: u16 = 9090;
/// How long accepting goes on in a cluster: load balancers and kube-proxy need that time to notice.
const CLUSTER_DRAIN_DELAY: Duration = Duration::from_secs(15);

impl RunArgs {
    /// Whether the objects come from files.
    pub(crate) fn standalone(&self) -> bool {
        self.manifests.is_some()
    }

    /// Where the admin server listens.
    pub(crate) fn admin(&self) -> SocketAddr {
        let host = if self.standalone() { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        self.admin_address.unwrap_or_else(|| (host, ADMIN_PORT).into())
    }

    /// Data-plane threads. The standard library knows quotas of both versions of cgroups.
    pub(crate) fn worker_count(&self) -> usize {
        self.workers.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
    }

    /// Whose Services are in front. Files have nobody who could make Services.
    pub(crate) fn services(&self) -> GatewayService {
        match self.gateway_service {
            _ if self.standalone() => GatewayService::Shared,
            Some(chosen) => chosen,
            None => GatewayService::Own,
        }
    }

    /// The steps of the drain.
    ///
    /// # Errors
    /// The spread is longer than the timeout.
    pub(crate) fn drain_plan(&self) -> Result<DrainPlan, DrainPlanError> {
        let usual = if self.standalone() { Duration::ZERO } else { CLUSTER_DRAIN_DELAY };
        DrainPlan::new(self.drain_delay.unwrap_or(usual), self.drain_timeout, self.drain_spread)
    }

    /// The last part of the drain timeout, over which WebSockets are closed.
    pub(crate) fn spread(&self) -> Duration {
        self.drain_spread.unwrap_or(self.drain_timeout / 10)
    }

    /// Whether requests are logged.
    pub(crate) fn logs_access(&self) -> bool {
        let usual = if self.standalone() { AccessLogForm::Off } else { AccessLogForm::Json };
        self.access_log.unwrap_or(usual) == AccessLogForm::Json
    }

    /// Form of the log.
    pub(crate) fn log(&self) -> LogFormat {
        let usual = if self.standalone() { LogFormat::Text } else { LogFormat::Json };
        self.log_format.map_or(usual, LogFormat::from)
    }

    /// Listener ports that are bound elsewhere; the last mapping of a port counts.
    pub(crate) fn port_map(&self) -> BTreeMap<u16, u16> {
        self.map_ports.iter().map(|mapping| (mapping.port, mapping.local)).collect()
    }

    /// Servers to ask for DNS names; none: as the system's configuration says.
    pub(crate) fn resolver_addresses(&self) -> Vec<SocketAddr> {
        self.resolvers.iter().map(|resolver| resolver.0).collect()
    }

    /// What the translation needs to know. `forbidden` are addresses that are never backends.
    pub(crate) fn translation(&self, forbidden: Vec<IpAddr>) -> Options {
        Options {
            class: self.class.clone(),
            map_ports: self.port_map(),
            client_address: ClientAddress {
                trusted_proxies: self.trusted_proxies.clone(),
                proxy_protocol: self.proxy_protocol.into(),
            },
            allow_external_name: self.allow_external_name,
            standalone: self.standalone(),
            forbidden_addresses: forbidden,
            api_server: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn run(flags: &[&str]) -> RunArgs {
        match Cli::try_parse_from(["penstock", "run"].iter().chain(flags)).unwrap().command {
            Command::Run(args) => *args,
            other => panic!("{other:?} is not run"),
        }
    }

    #[test]
    fn defaults_depend_on_the_mode() {
        let files = run(&["--manifests", "x"]);
        assert_eq!(files.admin().to_string(), "127.0.0.1:9090");
        assert_eq!(files.services(), GatewayService::Shared);
        assert_eq!((files.logs_access(), files.log()), (false, LogFormat::Text));
        assert_eq!(files.drain_plan(), DrainPlan::new(Duration::ZERO, Duration::from_secs(30), None));
        let cluster = run(&[]);
        assert_eq!(cluster.admin().to_string(), "0.0.0.0:9090");
        assert_eq!(cluster.services(), GatewayService::Own);
        assert_eq!((cluster.logs_access(), cluster.log()), (true, LogFormat::Json));
        assert_eq!(cluster.drain_plan(), DrainPlan::new(Duration::from_secs(15), Duration::from_secs(30), None));
        assert_eq!(cluster.spread(), Duration::from_secs(3));
        assert!(cluster.worker_count() >= 1);
    }

    #[test]
    fn flags_go_before_defaults() {
        let args = run(&["--manifests=x", "--access-log=json", "--admin-address=[::1]:1", "--drain-spread=31s"]);
        assert!(args.logs_access());
        assert_eq!(args.admin().to_string(), "[::1]:1");
        assert!(args.drain_plan().unwrap_err().to_string().contains("--drain-spread 31s"));
        let args = run(&["--resolver=10.0.0.10,10.0.0.11:5353", "--resolver=[::1]:54", "--resolver=fd00::a"]);
        let resolvers: Vec<String> = args.resolver_addresses().iter().map(ToString::to_string).collect();
        assert_eq!(resolvers, ["10.0.0.10:53", "10.0.0.11:5353", "[::1]:54", "[fd00::a]:53"]);
        let args = run(&["--trusted-proxies=10.0.0.0/8,192.0.2.1", "--proxy-protocol=required", "--class=mine"]);
        let options = args.translation(Vec::new());
        assert_eq!(options.client_address.trusted_proxies.len(), 2);
        assert_eq!(options.client_address.proxy_protocol, penstock_model::ProxyProtocol::Required);
        assert_eq!((options.class.as_str(), options.standalone), ("mine", false));
    }
}
