//! Transform `enrich`.
