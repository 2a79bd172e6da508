//! How an endpoint is chosen among those that take traffic, and what a request brings to that.
//!
//! Every choice is bounded, whatever the number of endpoints: the least loaded is looked for among a few whose turn it
//! is, and a client's place is read from a table that is made when endpoints change.

use std::net::IpAddr;
use std::sync::Arc;

use super::endpoint::LiveEndpoint;
use super::sessions::Token;

/// How many the least loaded one is looked for among. With no more endpoints than this the choice is exact; with more it
/// is at least as good as the common choice between two.
pub(super) const COMPARED: usize = 8;

/// Places of a [`ByClient`] table: a prime, so that places and hashes have no common rhythm.
const PLACES: u64 = 1021;

/// How often a client whose endpoint takes no traffic is given another place.
const MOVES: u64 = 8;

/// What a request brings to the choice of its endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// Numbers of endpoints that failed it already.
    pub(crate) tried: &'a [u64],
    /// A hash of the client's address, where it decides.
    pub(crate) client: Option<u64>,
    /// The token of its cookie.
    pub(crate) session: Option<Token>,
}

/// A hash of a client's address. The same in every replica and on every machine.
pub(crate) fn client_hash(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => mix(u64::from(address.to_bits())),
        IpAddr::V6(address) => {
            let bits = address.to_bits().to_be_bytes();
            bits.chunks_exact(8)
                .fold(0, |hash, half| mix(hash ^ half.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))))
        }
    }
}

/// A client's place: each goes to the endpoint with the highest weight there (rendezvous hashing), so that a change of
/// endpoints moves only clients of those that came or went.
#[derive(Debug)]
pub(super) struct ByClient(Box<[u16]>);

impl ByClient {
    pub(super) fn new(all: &[Arc<LiveEndpoint>]) -> Self {
        let seed =
            |endpoint: &Arc<LiveEndpoint>| endpoint.address.bytes().fold(7, |hash, byte| mix(hash ^ u64::from(byte)));
        let seeds: Vec<u64> = all.iter().map(seed).collect();
        let highest = |place: u64| {
            let weights = seeds.iter().map(|seed| mix(seed ^ mix(place)));
            let best = weights.enumerate().max_by_key(|(_, weight)| *weight);
            best.and_then(|(at, _)| u16::try_from(at).ok()).unwrap_or(0)
        };
        Self((0..PLACES).map(highest).collect())
    }

    /// Endpoints for a client, best first.
    pub(super) fn candidates(&self, client: u64) -> impl Iterator<Item = usize> {
        let place = |hash: u64| usize::try_from(hash % PLACES).unwrap_or(0);
        (0..MOVES).map(move |moves| usize::from(self.0[place(if moves == 0 { client } else { mix(client ^ moves) })]))
    }
}

/// The least loaded of these: by requests and WebSockets under way, for each unit of weight.
pub(super) fn least_loaded<'a>(some: impl Iterator<Item = &'a Arc<LiveEndpoint>>) -> Option<&'a Arc<LiveEndpoint>> {
    let load = |endpoint: &Arc<LiveEndpoint>| {
        let (requests, websockets) = endpoint.active();
        (u64::from(requests) + u64::from(websockets), u64::from(endpoint.endpoint.weight.max(1)))
    };
    some.filter(|endpoint| endpoint.endpoint.weight > 0).min_by(|a, b| {
        let ((a, a_weight), (b, b_weight)) = (load(a), load(b));
        (a * b_weight).cmp(&(b * a_weight))
    })
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
pub(super) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use penstock_model::Endpoint;

    use super::*;

    fn endpoints(count: u16) -> Vec<Arc<LiveEndpoint>> {
        let one = |port| Endpoint { address: ([10, 0, 0, 1], port).into(), host: None, weight: 1 };
        (1..=count).map(|port| Arc::new(LiveEndpoint::new(one(port), &"".into()))).collect()
    }

    fn places(all: &[Arc<LiveEndpoint>]) -> Vec<u64> {
        ByClient::new(all).0.iter().map(|at| all[usize::from(*at)].address().port().into()).collect()
    }

    #[test]
    fn places_are_shared_evenly() {
        let places = places(&endpoints(10));
        for port in 1..=10 {
            let share = places.iter().filter(|place| **place == port).count();
            assert!((60..150).contains(&share), "{port} has {share} of {PLACES}");
        }
    }

    #[test]
    fn one_more_endpoint_takes_its_share_and_moves_nothing_else() {
        let (before, after) = (places(&endpoints(9)), places(&endpoints(10)));
        let moved: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).collect();
        assert!(moved.iter().all(|(_, to)| **to == 10), "only to the new one: {moved:?}");
        assert!((50..170).contains(&moved.len()), "{} moved", moved.len());
    }

    #[test]
    fn an_address_has_one_hash_in_both_families() {
        let hash = |text: &str| client_hash(text.parse().unwrap());
        assert_eq!(hash("192.0.2.1"), hash("::ffff:192.0.2.1"));
        assert_ne!(hash("2001:db8::1"), hash("2001:db8::2"));
    }

    #[test]
    fn the_least_loaded_counts_websockets_and_weights() {
        let all = endpoints(3);
        let _one = all[0].begin(None);
        let mut two = all[1].begin(None);
        two.upgrade();
        assert_eq!(least_loaded(all.iter()).map(|endpoint| endpoint.number), Some(all[2].number));
    }
}
