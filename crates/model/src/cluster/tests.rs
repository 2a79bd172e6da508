//! Tests of endpoint sets.

use proptest::prelude::*;

use super::*;

fn endpoint(address: &str, host: Option<&str>, weight: u32) -> Endpoint {
    Endpoint { address: address.parse().expect("an address"), host: host.map(Into::into), weight }
}

fn addresses(set: &EndpointSet) -> Vec<String> {
    set.as_slice().iter().map(|endpoint| endpoint.address.to_string()).collect()
}

#[test]
fn endpoints_are_sorted_by_address_and_port() {
    let given = ["10.0.0.10:80", "[::1]:80", "10.0.0.9:81", "10.0.0.9:80"].map(|address| endpoint(address, None, 1));
    assert_eq!(addresses(&EndpointSet::new(given.into())), ["10.0.0.9:80", "10.0.0.9:81", "10.0.0.10:80", "[::1]:80"]);
}

#[test]
fn an_address_is_there_once() {
    let set = EndpointSet::new(vec![endpoint("10.0.0.1:80", Some("b"), 1), endpoint("10.0.0.1:80", Some("a"), 1)]);
    assert_eq!(set.as_slice(), [endpoint("10.0.0.1:80", Some("a"), 1)]);
    assert!(EndpointSet::new(Vec::new()).as_slice().is_empty());
}

proptest! {
    #[test]
    fn the_order_in_which_they_come_does_not_count(
        shuffled in prop::collection::vec((0_u8..4, 80_u16..82, prop::option::of("[ab]"), 1_u32..3), 0..8).prop_flat_map(|given| {
            let endpoints: Vec<Endpoint> = given
                .into_iter()
                .map(|(last, port, host, weight)| endpoint(&format!("10.0.0.{last}:{port}"), host.as_deref(), weight))
                .collect();
            (Just(endpoints.clone()), Just(endpoints).prop_shuffle())
        })
    ) {
        let (one, other) = (EndpointSet::new(shuffled.0.clone()), EndpointSet::new(shuffled.1));
        prop_assert_eq!(&one, &other);
        prop_assert!(one.as_slice().windows(2).all(|pair| pair[0].address < pair[1].address));
        prop_assert!(shuffled.0.iter().all(|given| one.as_slice().iter().any(|kept| kept.address == given.address)));
    }
}
