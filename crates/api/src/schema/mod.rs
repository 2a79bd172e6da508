//! What the API server does with the schema of a CRD, for objects that come from files.
