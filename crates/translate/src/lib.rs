//! From a snapshot of objects to a configuration and statuses: pure, synchronous, total.
