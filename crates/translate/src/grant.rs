//! References across namespaces: the owner of the other namespace must have said yes in a ReferenceGrant.

use penstock_api::GROUP;

use crate::snapshot::{Key, Snapshot};

/// Who refers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Referrer<'a> {
    /// `RoutingRule` or `ApplicationGateway`.
    pub(crate) kind: &'static str,
    /// Namespace of the referring object, and the default of its references.
    pub(crate) namespace: &'a str,
}

/// Whether a referrer may refer to an object of the core group; if not, why, with the remedy.
pub(crate) fn permitted(snapshot: &Snapshot, from: Referrer<'_>, kind: &str, to: &Key) -> Result<(), String> {
    if *from.namespace == *to.namespace {
        return Ok(());
    }
    let Some(grants) = &snapshot.grants else {
        return Err(format!(
            "{kind} {to} is in another namespace, and ReferenceGrants cannot be read: install the Gateway API's \
             definitions (kubectl apply -f its standard-install.yaml) and allow reading them, then create a ReferenceGrant in namespace {}",
            to.namespace
        ));
    };
    let mut there = grants
        .range(Key::new(to.namespace.clone(), "")..)
        .take_while(|(key, _)| key.namespace == to.namespace)
        .map(|(_, grant)| grant);
    if there.any(|grant| grant.permits((GROUP, from.kind), from.namespace, ("", kind), &to.name)) {
        return Ok(());
    }
    Err(format!(
        "{kind} {to} is in another namespace: create a ReferenceGrant in namespace {} from group {GROUP}, kind {}, namespace {} to kind {kind}",
        to.namespace, from.kind, from.namespace
    ))
}
