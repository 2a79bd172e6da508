//! The route table: compiled once per configuration, asked once per request.
