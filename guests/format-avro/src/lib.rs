//! Format `avro`.
