//! A DNS server on a loopback port whose answers change, and fail, on request.
//!
//! It speaks UDP only: what does not fit into a datagram is not for tests.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{CNAME, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// The most aliases that lead to an address.
const ALIASES: usize = 8;

/// What the server does with questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DnsMode {
    /// It answers from its records; names without any do not exist (NXDOMAIN).
    #[default]
    Answer,
    /// It says SERVFAIL.
    Fail,
    /// It says nothing.
    Silent,
}

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct DnsServer {
    addr: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Zone {
    mode: DnsMode,
    /// By the complete name in lower case.
    records: BTreeMap<String, Vec<(u32, RData)>>,
    questions: Vec<(String, RecordType)>,
}

impl DnsServer {
    /// Starts a server without records on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free UDP port");
        let addr = socket.local_addr().expect("a bound socket has an address");
        let zone = Arc::default();
        let task = tokio::spawn(serve(socket, Arc::clone(&zone)));
        Self { addr, zone, task }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The name has these addresses and nothing else, for so many seconds.
    ///
    /// # Panics
    /// When an address is none.
    pub fn set(&self, name: &str, addresses: &[&str], ttl: u32) {
        let data = |address: &&str| match address.parse().unwrap_or_else(|e| panic!("{address}: {e}")) {
            IpAddr::V4(address) => (ttl, RData::A(address.into())),
            IpAddr::V6(address) => (ttl, RData::AAAA(address.into())),
        };
        self.zone().records.insert(complete(name), addresses.iter().map(data).collect());
    }

    /// The name stands for another one.
    ///
    /// # Panics
    /// When the other one is no name.
    pub fn alias(&self, name: &str, target: &str, ttl: u32) {
        let target = Name::from_ascii(complete(target)).unwrap_or_else(|e| panic!("{target}: {e}"));
        self.zone().records.insert(complete(name), vec![(ttl, RData::CNAME(CNAME(target)))]);
    }

    /// The name does not exist any more.
    pub fn remove(&self, name: &str) {
        self.zone().records.remove(&complete(name));
    }

    /// What it does with questions from now on.
    pub fn mode(&self, mode: DnsMode) {
        self.zone().mode = mode;
    }

    /// How often it was asked for IPv4 addresses of this name, answered or not.
    #[must_use]
    pub fn asked(&self, name: &str) -> usize {
        let name = complete(name);
        self.zone().questions.iter().filter(|(asked, kind)| *asked == name && *kind == RecordType::A).count()
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut buffer = [0; 4096];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
        let answer = zone.lock().unwrap_or_else(PoisonError::into_inner).answer(&question);
        if let Some(bytes) = answer.and_then(|answer| answer.to_vec().ok()) {
            // A client that is gone needs no answer.
            let _ = socket.send_to(&bytes, from).await;
        }
    }
}

impl Zone {
    fn answer(&mut self, question: &Message) -> Option<Message> {
        let query = question.queries.first()?.clone();
        let (name, kind) = (query.name().clone(), query.query_type());
        self.questions.push((complete(&name.to_ascii()), kind));
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        answer.add_query(query);
        answer.metadata.authoritative = true;
        match self.mode {
            DnsMode::Silent => return None,
            DnsMode::Fail => answer.metadata.response_code = ResponseCode::ServFail,
            DnsMode::Answer => self.look_up(name, kind, &mut answer),
        }
        Some(answer)
    }

    fn look_up(&self, mut name: Name, kind: RecordType, answer: &mut Message) {
        for _ in 0..ALIASES {
            let Some(records) = self.records.get(&complete(&name.to_ascii())) else {
                answer.metadata.response_code = ResponseCode::NXDomain;
                break;
            };
            for (ttl, data) in records.iter().filter(|(_, data)| data.record_type() == kind) {
                answer.add_answer(Record::from_rdata(name.clone(), *ttl, data.clone()));
            }
            let alias = records.iter().find_map(|(ttl, data)| match data {
                RData::CNAME(target) => Some((*ttl, target.0.clone())),
                _ => None,
            });
            let Some((ttl, target)) = alias else { break };
            answer.add_answer(Record::from_rdata(name, ttl, RData::CNAME(CNAME(target.clone()))));
            name = target;
        }
        if answer.answers.iter().all(|record| record.record_type() != kind) {
            // How long there is nothing (RFC 2308 5).
            let soa = SOA::new(Name::root(), Name::root(), 1, 1, 1, 1, 1);
            answer.add_authority(Record::from_rdata(Name::root(), 1, RData::SOA(soa)));
        }
    }
}

/// As it is written in the zone.
fn complete(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.').to_ascii_lowercase())
}
