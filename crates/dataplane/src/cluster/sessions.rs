//! Session affinity: which endpoint a cookie's token stands for. Nothing is kept for a session: the token is a keyed hash
//! of the endpoint's address, the same in every replica, and says nothing about the address to anybody without the key.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::RandomState;
use aws_lc_rs::hmac;
use hashbrown::HashMap;

use super::endpoint::{Health, LiveEndpoint};

/// Half of an HMAC-SHA256, as the cookie has it in hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Token(u128);

impl Token {
    /// Reads a cookie's value.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok().map(Self))?
    }

    /// As the cookie's value.
    pub(crate) fn hex(self) -> String {
        format!("{:032x}", self.0)
    }
}

/// The endpoints of a cluster by token.
#[derive(Debug)]
pub(super) struct Sessions {
    key: hmac::Key,
    endpoints: HashMap<Token, Session, RandomState>,
}

#[derive(Clone, Debug)]
struct Session {
    endpoint: Arc<LiveEndpoint>,
    /// It has left, and keeps its sessions until then.
    until: Option<Instant>,
}

impl Sessions {
    /// Of these endpoints, and of those that left and are still draining, for so long.
    pub(super) fn new(key: &str, all: &[Arc<LiveEndpoint>], before: Option<&Self>, drain: Duration) -> Self {
        let mut sessions =
            Self { key: hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), endpoints: HashMap::default() };
        let now = Instant::now();
        for Session { endpoint, until } in before.into_iter().flat_map(|before| before.endpoints.values()) {
            let until = until.unwrap_or(now + drain);
            if until > now {
                sessions.insert(endpoint, Some(until));
            }
        }
        // After those that left: who came back is in.
        all.iter().for_each(|endpoint| sessions.insert(endpoint, None));
        sessions
    }

    fn insert(&mut self, endpoint: &Arc<LiveEndpoint>, until: Option<Instant>) {
        let token = self.token(endpoint);
        self.endpoints.insert(token, Session { endpoint: Arc::clone(endpoint), until });
    }

    /// What stands for an endpoint.
    pub(super) fn token(&self, endpoint: &LiveEndpoint) -> Token {
        let tag = hmac::sign(&self.key, endpoint.address.as_bytes());
        let mut half = [0; 16];
        half.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        Token(u128::from_be_bytes(half))
    }

    /// The endpoint of a session, as long as it may get requests.
    pub(super) fn endpoint(&self, token: Token) -> Option<&Arc<LiveEndpoint>> {
        let Session { endpoint, until } = self.endpoints.get(&token)?;
        let usable = match until {
            None => endpoint.is_available(),
            Some(until) => endpoint.health() != Health::Down && Instant::now() < *until,
        };
        usable.then_some(endpoint)
    }
}

#[cfg(test)]
mod tests {
    use penstock_model::Endpoint;

    use super::*;

    fn endpoint(port: u16) -> Arc<LiveEndpoint> {
        let address = std::net::SocketAddr::from(([10, 0, 0, 1], port));
        Arc::new(LiveEndpoint::new(Endpoint { address, host: None, weight: 1 }, &"".into()))
    }

    #[test]
    fn a_token_is_read_as_it_is_written_and_needs_the_key() {
        let one = endpoint(1);
        let of = |key: &str| Sessions::new(key, &[Arc::clone(&one)], None, Duration::ZERO).token(&one);
        assert_eq!(Token::parse(&of("a").hex()), Some(of("a")));
        assert_ne!(of("a"), of("b"));
        for bad in ["", "x", "+0000000000000000000000000000000", "000000000000000000000000000000000"] {
            assert_eq!(Token::parse(bad).filter(|_| bad.len() != 32), None, "{bad}");
        }
    }

    #[test]
    fn one_that_left_keeps_its_sessions_while_it_drains() {
        let (one, two) = (endpoint(1), endpoint(2));
        let all = Sessions::new("key", &[Arc::clone(&one), Arc::clone(&two)], None, Duration::ZERO);
        let token = all.token(&two);
        let left = Sessions::new("key", &[Arc::clone(&one)], Some(&all), Duration::from_secs(60));
        assert_eq!(left.endpoint(token).map(|found| found.number), Some(two.number));
        let over = Sessions::new("key", &[Arc::clone(&one)], Some(&all), Duration::ZERO);
        assert!(over.endpoint(token).is_none());
    }
}
