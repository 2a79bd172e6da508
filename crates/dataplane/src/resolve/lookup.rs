//! Asking for the addresses of a name: where the answers come from, and what they say.
//!
//! A and AAAA are asked for and judged each by itself: one may fail while the other answers, and what failed says nothing
//! about the addresses that there are.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, TokioResolver};

/// The longest lookup, whatever the search list and the retries.
const LONGEST: Duration = Duration::from_secs(10);
/// How long a server that was named on the command line has, each time it is asked, and how often it is.
const PATIENCE: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;
/// What the configuration of the system is read from.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// What came of asking for the addresses of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There are these, for so long.
    Found(Vec<IpAddr>, Duration),
    /// There are none, for so long.
    Absent(Duration, Absence),
    /// Nobody knows.
    Failed(Failure),
}

/// What is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// The name itself (NXDOMAIN, RFC 8020).
    Name,
    /// Addresses of the name (NODATA, RFC 2308 2.2).
    Addresses,
}

/// Why nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No answer in time.
    TimedOut,
    /// Another answer than yes or no, or nobody to ask.
    Other(String),
}

/// What came of both families.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) v4: Outcome,
    pub(super) v6: Outcome,
}

/// Whom to ask. What is built of the system's configuration is built again when its files change.
#[derive(Debug)]
pub(super) struct Resolver {
    servers: Vec<SocketAddr>,
    built: RefCell<Option<Rc<Built>>>,
}

/// A resolver ready to ask.
#[derive(Debug)]
struct Built {
    files: [Option<SystemTime>; 2],
    client: TokioResolver,
    hosts: Hosts,
    search: Vec<Name>,
    ndots: usize,
}

impl Resolver {
    /// Asks these servers for complete names; without any it does as the system's configuration says.
    pub(super) fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers, built: RefCell::default() }
    }

    pub(super) async fn lookup(&self, name: &str) -> Answer {
        let failed = |failure: Failure| Answer { v4: Outcome::Failed(failure.clone()), v6: Outcome::Failed(failure) };
        let built = match self.built() {
            Ok(built) => built,
            Err(why) => return failed(Failure::Other(why)),
        };
        match tokio::time::timeout(LONGEST, built.lookup(name)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => failed(Failure::Other(why)),
            Err(_) => failed(Failure::TimedOut),
        }
    }

    fn built(&self) -> Result<Rc<Built>, String> {
        let files = FILES.map(|file| std::fs::metadata(file).and_then(|file| file.modified()).ok());
        let mut built = self.built.borrow_mut();
        if let Some(built) = built.as_ref().filter(|built| !self.servers.is_empty() || built.files == files) {
            return Ok(Rc::clone(built));
        }
        let now =
            if self.servers.is_empty() { Built::of_system(files) } else { Built::of_servers(&self.servers, files) };
        now.map(|now| Rc::clone(built.insert(Rc::new(now))))
    }
}

impl Built {
    fn of_system(files: [Option<SystemTime>; 2]) -> Result<Self, String> {
        let (config, options) =
            read_system_conf().map_err(|error| format!("{}: {error}; name a server with --resolver", FILES[0]))?;
        // The domain stands for a search list that is not there.
        let search = match config.search() {
            [] => config.domain().cloned().into_iter().collect(),
            search => search.to_vec(),
        };
        // A system without the file has no static names.
        let hosts = Hosts::from_system().unwrap_or_default();
        Self::build(config, options, hosts, search, files)
    }

    fn of_servers(servers: &[SocketAddr], files: [Option<SystemTime>; 2]) -> Result<Self, String> {
        let server = |server: &SocketAddr| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = server.port();
                connection
            });
            NameServerConfig::new(server.ip(), true, connections.to_vec())
        };
        let config = ResolverConfig::from_name_servers(servers.iter().map(server).collect());
        let mut options = ResolverOpts::default();
        options.timeout = PATIENCE;
        options.attempts = ATTEMPTS;
        Self::build(config, options, Hosts::default(), Vec::new(), files)
    }

    fn build(
        config: ResolverConfig,
        mut options: ResolverOpts,
        hosts: Hosts,
        search: Vec<Name>,
        files: [Option<SystemTime>; 2],
    ) -> Result<Self, String> {
        // Names are asked for when their time is over: there is nothing to remember in between.
        options.cache_size = 0;
        // Looked at here, because a name that has an address there has no others.
        options.use_hosts_file = ResolveHosts::Never;
        let ndots = options.ndots;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let client = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { files, client, hosts, search, ndots })
    }

    /// The first of the names that this may stand for which has an address decides.
    async fn lookup(&self, name: &str) -> Result<Answer, String> {
        let mut last: Option<Answer> = None;
        for name in self.candidates(name)? {
            if let Some(answer) = self.in_hosts(&name) {
                return Ok(answer);
            }
            let (v4, v6) = tokio::join!(self.family(&name, RecordType::A), self.family(&name, RecordType::AAAA));
            let answer = Answer { v4, v6 };
            if answer.is_found() {
                return Ok(answer);
            }
            // One that nobody knows about might be it: the others say no for themselves alone.
            last = last.filter(Answer::is_failed).or(Some(answer));
        }
        last.ok_or_else(|| "no name to ask for".to_owned())
    }

    /// As resolv.conf(5) has it: a name with `ndots` dots is tried as it is first, others last; one that ends with a dot
    /// only so.
    fn candidates(&self, name: &str) -> Result<Vec<Name>, String> {
        let name = Name::from_ascii(name).map_err(|error| error.to_string())?;
        if name.is_fqdn() {
            return Ok(vec![name]);
        }
        let searched = self.search.iter().filter_map(|domain| name.clone().append_domain(domain).ok());
        let mut complete = name.clone();
        complete.set_fqdn(true);
        let first = usize::from(name.num_labels()) > self.ndots;
        let own = |when: bool| when.then(|| complete.clone());
        Ok(own(first).into_iter().chain(searched).chain(own(!first)).collect())
    }

    fn in_hosts(&self, name: &Name) -> Option<Answer> {
        let find = |kind| {
            let found = self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
            found.map(|found| outcome(found.answers()))
        };
        let (v4, v6) = (find(RecordType::A), find(RecordType::AAAA));
        let none = || Outcome::Absent(Duration::MAX, Absence::Addresses);
        (v4.is_some() || v6.is_some()).then(|| Answer { v4: v4.unwrap_or_else(none), v6: v6.unwrap_or_else(none) })
    }

    async fn family(&self, name: &Name, kind: RecordType) -> Outcome {
        match self.client.lookup(name.clone(), kind).await {
            Ok(found) => outcome(found.answers()),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
                let ttl = Duration::from_secs(u64::from(none.negative_ttl.unwrap_or(0)));
                let name = none.response_code == ResponseCode::NXDomain;
                Outcome::Absent(ttl, if name { Absence::Name } else { Absence::Addresses })
            }
            Err(NetError::Timeout) => Outcome::Failed(Failure::TimedOut),
            Err(NetError::Dns(DnsError::ResponseCode(code))) => {
                // By its name in RFC 1035 4.1.1, such as SERVFAIL.
                Outcome::Failed(Failure::Other(format!("the server says {}", format!("{code:?}").to_uppercase())))
            }
            Err(error) => Outcome::Failed(Failure::Other(error.to_string())),
        }
    }
}

/// Addresses of an answer, with the shortest time of all that leads to them (CNAME included).
fn outcome(records: &[Record]) -> Outcome {
    let addresses: Vec<IpAddr> = records.iter().filter_map(|record| record.data.ip_addr()).collect();
    let ttl = Duration::from_secs(records.iter().map(|record| u64::from(record.ttl)).min().unwrap_or(0));
    if addresses.is_empty() { Outcome::Absent(ttl, Absence::Addresses) } else { Outcome::Found(addresses, ttl) }
}

impl Answer {
    pub(super) fn is_found(&self) -> bool {
        matches!(self.v4, Outcome::Found(..)) || matches!(self.v6, Outcome::Found(..))
    }

    /// Whether nothing was found and somebody could not say that there is nothing; why.
    pub(super) fn failure(&self) -> Option<&Failure> {
        match (&self.v4, &self.v6) {
            (Outcome::Found(..), _) | (_, Outcome::Found(..)) => None,
            (Outcome::Failed(why), _) | (_, Outcome::Failed(why)) => Some(why),
            _ => None,
        }
    }

    fn is_failed(&self) -> bool {
        self.failure().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(search: &[&str], ndots: usize) -> Built {
        let search = search.iter().map(|domain| Name::from_ascii(domain).unwrap()).collect();
        let mut options = ResolverOpts::default();
        options.ndots = ndots;
        Built::build(ResolverConfig::default(), options, Hosts::default(), search, [None; 2]).unwrap()
    }

    #[tokio::test]
    async fn the_search_list_goes_by_dots() {
        let cluster = built(&["ns.svc.cluster.local.", "cluster.local"], 5);
        let names = |built: &Built, name: &str| -> Vec<String> {
            built.candidates(name).unwrap().iter().map(Name::to_ascii).collect()
        };
        let searched = ["db.ns.svc.cluster.local.", "db.cluster.local.", "db."];
        assert_eq!(names(&cluster, "db"), searched);
        assert_eq!(names(&cluster, "a.b.c.d.e.f")[0], "a.b.c.d.e.f.");
        assert_eq!(names(&cluster, "db.example.net."), ["db.example.net."]);
        assert_eq!(names(&built(&["lan"], 1), "db.example.net"), ["db.example.net.", "db.example.net.lan."]);
        assert_eq!(names(&built(&[], 1), "db"), ["db."]);
    }

    #[tokio::test]
    async fn a_name_of_the_hosts_file_has_no_other_addresses() {
        let mut hosts = Hosts::default();
        hosts.read_hosts_conf("10.0.0.7 legacy.example.net\n".as_bytes()).unwrap();
        let built = Built { hosts, ..built(&[], 1) };
        let answer = built.lookup("legacy.example.net").await.unwrap();
        assert!(matches!(&answer.v4, Outcome::Found(found, _) if *found == ["10.0.0.7".parse::<IpAddr>().unwrap()]));
        assert!(matches!(answer.v6, Outcome::Absent(..)));
    }
}
