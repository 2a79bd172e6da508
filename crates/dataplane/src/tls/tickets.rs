//! Session tickets of one listener, stateless: sealed with keys that are derived from the secrets of the installation.
//!
//! The derivation takes in the listener and what it asks of clients, so that no ticket resumes on another listener, or under
//! another setting (CVE-2025-23419). rustls compares the server name, too, and the certificate of a resumed session is judged
//! anew.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use penstock_model::{ClientAuth, ListenerId, TicketSecrets, tickets};
use rustls::server::ProducesTickets;

/// Bytes of the name of a key, in front of each ticket.
const NAME: usize = 16;
/// The largest ticket: the next ClientHello has to carry it. A client with a longer chain makes full handshakes.
const LARGEST: usize = 16 * 1024;
/// Tells these keys from everything else that could be derived from the same secret.
const PURPOSE: &[u8] = b"penstock session tickets 1";

/// Seals and opens the tickets of one listener.
pub(crate) struct Ticketer {
    /// Stands for the listener and its setting.
    scope: [u8; 32],
    keys: ArcSwap<Keys>,
}

/// Secrets and the keys that were derived from them, in the same order.
struct Keys(TicketSecrets, Vec<Option<Key>>);

struct Key {
    name: [u8; NAME],
    key: RandomizedNonceKey,
}

impl Ticketer {
    pub(super) fn new(listener: &ListenerId, clients: Option<&ClientAuth>, secrets: &TicketSecrets) -> Self {
        let scope = scope(listener, clients);
        Self { keys: ArcSwap::from_pointee(Keys::derive(secrets, &scope)), scope }
    }

    /// Other secrets are in use from now on.
    pub(crate) fn use_secrets(&self, secrets: &TicketSecrets) {
        self.keys.store(Arc::new(Keys::derive(secrets, &self.scope)));
    }
}

impl std::fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticketer").finish_non_exhaustive()
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(tickets::LIFETIME).unwrap_or_default()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if plain.len() > LARGEST {
            return None;
        }
        let keys = self.keys.load();
        let Keys(secrets, derived) = &**keys;
        let Key { name, key } = derived.get(secrets.sealing(now())?)?.as_ref()?;
        let mut sealed = plain.to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(name), &mut sealed).ok()?;
        Some([name, nonce.as_ref().as_slice(), &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let keys = self.keys.load();
        let Keys(secrets, derived) = &**keys;
        let now = now();
        let usable = secrets.iter().zip(derived).filter(|(secret, _)| secret.opens(now));
        let Key { key, .. } = usable.filter_map(|(_, key)| key.as_ref()).find(|key| key.name == *name)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut bytes = sealed.to_vec();
        let length = key.open_in_place(nonce, Aad::from(name), &mut bytes).ok()?.len();
        bytes.truncate(length);
        Some(bytes)
    }
}

impl Keys {
    fn derive(secrets: &TicketSecrets, scope: &[u8; 32]) -> Self {
        Self(secrets.clone(), secrets.iter().map(|secret| Key::derive(&secret.secret, scope)).collect())
    }
}

impl Key {
    /// `None` only when the library has no memory.
    fn derive(secret: &[u8; 32], scope: &[u8; 32]) -> Option<Self> {
        let base = Salt::new(HKDF_SHA256, PURPOSE).extract(secret);
        let (mut name, mut key) = ([0; NAME], [0; 32]);
        // Both parts have a fixed length: no two inputs are alike.
        base.expand(&[b"name", scope], Length(NAME)).ok()?.fill(&mut name).ok()?;
        base.expand(&[b"keys", scope], Length(key.len())).ok()?.fill(&mut key).ok()?;
        Some(Self { name, key: RandomizedNonceKey::new(&AES_256_GCM, &key).ok()? })
    }
}

/// How much is derived.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn scope(listener: &ListenerId, clients: Option<&ClientAuth>) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(listener.gateway.namespace.as_bytes());
    part(listener.gateway.name.as_bytes());
    part(listener.name.as_bytes());
    match clients {
        None => part(b"none"),
        Some(ClientAuth { strict, authorities }) => {
            part(if *strict { b"strict" } else { b"passthrough" });
            part(authorities);
        }
    }
    let mut scope = [0; 32];
    scope.copy_from_slice(hash.finish().as_ref());
    scope
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}

/// Secrets of this process alone, where there are none to share.
pub(crate) fn own_secrets(before: &TicketSecrets) -> Option<TicketSecrets> {
    let mut fresh = [0; 32];
    // Without randomness there are no tickets, and every handshake is a full one.
    aws_lc_rs::rand::fill(&mut fresh).ok()?;
    before.rotated(now(), fresh)
}

/// Seconds until the secrets of this process have to be exchanged.
pub(crate) fn rest(secrets: &TicketSecrets) -> u64 {
    u64::try_from(secrets.rest(now())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_model::{GatewayId, TicketSecret};

    fn secrets(ages: &[i64]) -> TicketSecrets {
        let secret =
            |age: &i64| TicketSecret { created: now() - age, secret: [u8::try_from(*age / 3600).unwrap(); 32] };
        TicketSecrets::new(ages.iter().map(secret))
    }

    fn ticketer(name: &str, clients: Option<&ClientAuth>, secrets: &TicketSecrets) -> Ticketer {
        Ticketer::new(&ListenerId { gateway: GatewayId::new("edge", "shop"), name: name.into() }, clients, secrets)
    }

    #[test]
    fn replicas_with_the_same_secrets_open_each_others_tickets_also_while_secrets_change() {
        let (hour, old) = (3600, secrets(&[5 * 3600]));
        let (one, two) = (ticketer("a", None, &old), ticketer("a", None, &old));
        let ticket = one.encrypt(b"session").unwrap();
        assert_eq!(two.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        // One has the next secret already: it seals with the old one, or the other could not open it.
        two.use_secrets(&secrets(&[0, 5 * hour]));
        assert_eq!(one.decrypt(&two.encrypt(b"later").unwrap()).as_deref(), Some(&b"later"[..]));
        assert_eq!(two.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        two.use_secrets(&secrets(&[0]));
        assert_eq!(two.decrypt(&ticket), None, "the secret is forgotten");
        one.use_secrets(&secrets(&[20 * hour]));
        assert_eq!(one.encrypt(b"x"), None, "nobody renews it");
    }

    #[test]
    fn no_ticket_opens_on_another_listener_or_under_another_setting() {
        let shared = secrets(&[3600]);
        let auth = |strict, pem: &[u8]| ClientAuth { strict, authorities: pem.into() };
        let settings = [None, Some(auth(true, b"a")), Some(auth(false, b"a")), Some(auth(true, b"b"))];
        let all: Vec<_> =
            ["a", "b"].iter().flat_map(|name| settings.iter().map(|c| ticketer(name, c.as_ref(), &shared))).collect();
        for (i, one) in all.iter().enumerate() {
            let ticket = one.encrypt(b"session").unwrap();
            for (j, other) in all.iter().enumerate() {
                assert_eq!(other.decrypt(&ticket).is_some(), i == j, "{i} {j}");
            }
        }
    }

    #[test]
    fn no_ticket_that_was_touched_opens() {
        let ticketer = ticketer("a", None, &secrets(&[3600]));
        let ticket = ticketer.encrypt(b"session").unwrap();
        for place in 0..ticket.len() {
            let mut touched = ticket.clone();
            touched[place] ^= 1;
            assert_eq!(ticketer.decrypt(&touched), None, "{place}");
            assert_eq!(ticketer.decrypt(&ticket[..place]), None, "{place}");
        }
        assert_ne!(ticketer.encrypt(b"session").unwrap(), ticket, "no nonce comes twice");
        assert_eq!(ticketer.encrypt(&[0; LARGEST + 1]), None);
    }
}
