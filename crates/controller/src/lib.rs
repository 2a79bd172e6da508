//! Watches, the store, publishing, statuses, leader election; the same loop over a folder of manifests.
