//! What is known of one name: which addresses it has, what is wrong with it, and when to ask again.
//!
//! Addresses are kept for as long as nobody says that there are others. "There is no such name" is believed when it has
//! been said for [`HOLD`]: Envoy and nginx believe it at once, but a zone that is being changed, or a server that has
//! forgotten one, says so for a moment, and would end every WebSocket there. HAProxy waits as long (`hold nx`).

use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use penstock_model::ObservedName;

use super::AddressRule;
use super::lookup::{Absence, Answer, Failure, Outcome};

/// The least and the most that a TTL is taken for.
const TTL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// The same of the time for which there is nothing: who makes the record wants to see it.
const ABSENT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The longest pause after failures; it begins with a second and doubles.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a name that had addresses keeps them while it is said to have none.
const HOLD: Duration = Duration::from_secs(30);
/// How soon it is asked for again meanwhile, at the latest.
const WHILE_HELD: Duration = Duration::from_secs(5);

/// What is known of one name.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    /// Of both families those that may be backends and can be reached.
    addresses: Vec<IpAddr>,
    problem: Option<ObservedName>,
    /// Something came of asking, were it a failure.
    answered: bool,
    failures: u32,
    /// Since when it is said to have none.
    absent: Option<Instant>,
}

/// What follows from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// Whether somebody has to hear of it.
    pub(super) changed: bool,
    /// When to ask again.
    pub(super) pause: Duration,
    /// Label of the metric.
    pub(super) result: &'static str,
}

impl Resolved {
    pub(super) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    pub(super) fn problem(&self) -> Option<&ObservedName> {
        self.problem.as_ref()
    }

    pub(super) fn is_answered(&self) -> bool {
        self.answered
    }

    /// Takes an answer that came at `now`.
    pub(super) fn take(&mut self, answer: &Answer, rule: &AddressRule, now: Instant) -> Next {
        let before = (std::mem::replace(&mut self.answered, true), self.addresses.clone(), self.problem.clone());
        let failure = answer.failure().cloned();
        let mut reason = None;
        let (pause, result) = if answer.is_found() {
            (self.failures, self.absent) = (0, None);
            for (known, outcome) in [(&mut self.v4, &answer.v4), (&mut self.v6, &answer.v6)] {
                match outcome {
                    Outcome::Found(found, _) => known.clone_from(found),
                    Outcome::Absent(..) => known.clear(),
                    Outcome::Failed(_) => {}
                }
            }
            (shortest(answer).clamp(TTL.0, TTL.1), "success")
        } else if let Some(failure) = failure {
            let pause = Duration::from_secs(1 << self.failures.min(5)).min(LONGEST_PAUSE);
            self.failures = self.failures.saturating_add(1);
            let (result, why) = match failure {
                Failure::TimedOut => ("timeout", "no answer in time".to_owned()),
                Failure::Other(why) => ("failure", why),
            };
            reason = Some(format!("LookupFailed: {why}"));
            (pause, result)
        } else {
            self.failures = 0;
            reason = Some(absence(answer).to_owned());
            let since = *self.absent.get_or_insert(now);
            let pause = shortest(answer).clamp(ABSENT.0, ABSENT.1);
            if self.has_any() && now.duration_since(since) < HOLD {
                (pause.min(WHILE_HELD), "not_found")
            } else {
                (self.v4, self.v6) = (Vec::new(), Vec::new());
                (pause, "not_found")
            }
        };
        let refused = self.choose(rule);
        let reason = reason.or(refused.filter(|_| self.addresses.is_empty()));
        self.problem = reason.map(|reason| ObservedName { reason, stale: !self.addresses.is_empty() });
        let changed = before != (true, self.addresses.clone(), self.problem.clone());
        Next { changed, pause, result }
    }

    fn has_any(&self) -> bool {
        !(self.v4.is_empty() && self.v6.is_empty())
    }

    /// Of the addresses that are known those that are backends; why another one is not.
    fn choose(&mut self, rule: &AddressRule) -> Option<String> {
        let mut refused = None;
        let permitted = |address: &IpAddr| match rule.permits(*address) {
            Ok(()) => true,
            Err(what) => {
                refused.get_or_insert_with(|| {
                    format!("AddressNotAllowed: {address} is {what}, which may not be a backend")
                });
                false
            }
        };
        // In order: servers turn their answers round each time.
        let all: BTreeSet<IpAddr> = self.v4.iter().chain(&self.v6).copied().collect();
        let mut addresses: Vec<IpAddr> = all.into_iter().filter(permitted).collect();
        // RFC 6724 5, rule 1: an address that this machine has no way to is none while there is another.
        let both = addresses.iter().any(IpAddr::is_ipv4) && addresses.iter().any(IpAddr::is_ipv6);
        if both && addresses.iter().any(|address| has_route(*address)) {
            addresses.retain(|address| has_route(*address));
        }
        self.addresses = addresses;
        refused
    }
}

/// The shortest time for which what was answered holds.
fn shortest(answer: &Answer) -> Duration {
    let holds = |outcome: &Outcome| match outcome {
        Outcome::Found(_, ttl) => Some(*ttl),
        // Beside addresses of the other family it is asked again when those are.
        Outcome::Absent(ttl, _) => Some(*ttl).filter(|_| !answer.is_found()),
        Outcome::Failed(_) => None,
    };
    holds(&answer.v4).into_iter().chain(holds(&answer.v6)).min().unwrap_or_default()
}

fn absence(answer: &Answer) -> &'static str {
    match (&answer.v4, &answer.v6) {
        (Outcome::Absent(_, Absence::Name), Outcome::Absent(_, Absence::Name)) => "NotFound: there is no such name",
        _ => "NotFound: the name has no address",
    }
}

/// Whether a packet to that address would leave. Connecting a datagram socket asks the routing table and sends nothing.
fn has_route(address: IpAddr) -> bool {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    UdpSocket::bind(any).and_then(|socket| socket.connect((address, 9))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn found(addresses: &[&str], ttl: u64) -> Outcome {
        Outcome::Found(addresses.iter().map(|address| address.parse().unwrap()).collect(), seconds(ttl))
    }

    fn both(outcome: Outcome) -> Answer {
        Answer { v4: outcome.clone(), v6: outcome }
    }

    fn v4(outcome: Outcome) -> Answer {
        Answer { v4: outcome, v6: Outcome::Absent(seconds(0), Absence::Addresses) }
    }

    fn nothing() -> Answer {
        both(Outcome::Absent(seconds(60), Absence::Name))
    }

    fn failed() -> Answer {
        both(Outcome::Failed(Failure::TimedOut))
    }

    fn any() -> AddressRule {
        AddressRule::new(|_| Ok(()))
    }

    fn known(resolved: &Resolved) -> Vec<String> {
        resolved.addresses().iter().map(ToString::to_string).collect()
    }

    fn reason(resolved: &Resolved) -> Option<(&str, bool)> {
        resolved.problem().map(|problem| (problem.reason.as_str(), problem.stale))
    }

    #[test]
    fn it_is_asked_again_when_the_ttl_is_over_within_bounds() {
        let (mut resolved, now) = (Resolved::default(), Instant::now());
        for (ttl, pause) in [(0, 1), (1, 1), (60, 60), (86_400, 300)] {
            let next = resolved.take(&v4(found(&["10.0.0.1"], ttl)), &any(), now);
            assert_eq!((next.pause, next.result), (seconds(pause), "success"));
        }
        let next = resolved.take(&v4(found(&["10.0.0.1"], 60)), &any(), now);
        assert!(!next.changed, "the same again");
        assert!(resolved.take(&v4(found(&["10.0.0.2"], 60)), &any(), now).changed);
        assert_eq!(known(&resolved), ["10.0.0.2"]);
    }

    #[test]
    fn failures_keep_what_is_known_for_ever_and_are_asked_less_and_less() {
        let (mut resolved, now) = (Resolved::default(), Instant::now());
        resolved.take(&v4(found(&["10.0.0.1"], 60)), &any(), now);
        let pauses: Vec<u64> =
            (0..7).map(|hours| resolved.take(&failed(), &any(), now + seconds(hours * 3600)).pause.as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(known(&resolved), ["10.0.0.1"]);
        assert_eq!(reason(&resolved), Some(("LookupFailed: no answer in time", true)));
        assert!(!resolved.take(&failed(), &any(), now).changed, "said once");
        assert!(resolved.take(&v4(found(&["10.0.0.1"], 60)), &any(), now).changed);
        assert_eq!(reason(&resolved), None);
    }

    #[test]
    fn a_family_that_fails_keeps_its_addresses_beside_the_other() {
        let (mut resolved, now) = (Resolved::default(), Instant::now());
        let rule = any();
        resolved.take(&v4(found(&["127.0.0.1"], 60)), &rule, now);
        let next = resolved.take(
            &Answer { v4: Outcome::Failed(Failure::TimedOut), v6: Outcome::Absent(seconds(5), Absence::Addresses) },
            &rule,
            now,
        );
        assert_eq!((known(&resolved), next.result), (vec!["127.0.0.1".to_owned()], "timeout"));
        let other = Answer { v4: Outcome::Failed(Failure::TimedOut), v6: found(&["::ffff:127.0.0.2"], 60) };
        assert_eq!(resolved.take(&other, &rule, now).result, "success");
        assert_eq!(resolved.v4.len(), 1);
        resolved.take(&v4(found(&["127.0.0.3"], 60)), &rule, now);
        assert_eq!(known(&resolved), ["127.0.0.3"], "no address of the other family any more");
    }

    #[test]
    fn no_such_name_is_believed_when_it_was_said_for_half_a_minute() {
        let (mut resolved, now) = (Resolved::default(), Instant::now());
        let fresh = Resolved::default().take(&nothing(), &any(), now);
        assert_eq!((fresh.pause, fresh.result, fresh.changed), (seconds(30), "not_found", true), "without any before");
        resolved.take(&v4(found(&["10.0.0.1"], 60)), &any(), now);
        for later in [0, 5, 29] {
            assert_eq!(resolved.take(&nothing(), &any(), now + seconds(later)).pause, seconds(5));
            assert_eq!(reason(&resolved), Some(("NotFound: there is no such name", true)));
        }
        resolved.take(&v4(found(&["10.0.0.1"], 60)), &any(), now + seconds(29));
        resolved.take(&nothing(), &any(), now + seconds(31));
        assert_eq!(known(&resolved), ["10.0.0.1"], "said anew");
        resolved.take(&failed(), &any(), now + seconds(40));
        resolved.take(&nothing(), &any(), now + seconds(61));
        assert_eq!(known(&resolved), [""; 0]);
        assert_eq!(reason(&resolved), Some(("NotFound: there is no such name", false)));
    }

    #[test]
    fn what_may_not_be_a_backend_is_none_at_once() {
        let (mut resolved, now) = (Resolved::default(), Instant::now());
        let rule = AddressRule::new(|address| if address.is_loopback() { Err("a loopback address") } else { Ok(()) });
        resolved.take(&v4(found(&["10.0.0.1", "127.0.0.1"], 60)), &rule, now);
        assert_eq!((known(&resolved), reason(&resolved)), (vec!["10.0.0.1".to_owned()], None));
        resolved.take(&v4(found(&["127.0.0.1"], 60)), &rule, now);
        let why = "AddressNotAllowed: 127.0.0.1 is a loopback address, which may not be a backend";
        assert_eq!((known(&resolved), reason(&resolved)), (Vec::new(), Some((why, false))));
    }

    #[test]
    fn a_route_is_looked_for_without_a_packet() {
        assert!(has_route("127.0.0.1".parse().unwrap()));
    }
}
