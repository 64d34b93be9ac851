//! The options of a request.

use crate::answer::{Problem, Reason};
use crate::escape::Escaped;

/// What the query of a target asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Query {
    /// `wait=commit`: answer once the records are in the lake.
    pub(super) wait: bool,
    /// `partial=allow`: keep the valid records of a request that has others.
    pub(super) partial: bool,
}

impl Query {
    /// Parses a query. What is not known is refused: a typing error must not change what an answer means.
    pub(super) fn parse(query: &str) -> Result<Query, Problem> {
        let mut parsed = Query::default();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            match option {
                "wait=commit" => parsed.wait = true,
                "wait=durable" => parsed.wait = false,
                "partial=allow" => parsed.partial = true,
                "partial=refuse" => parsed.partial = false,
                other => {
                    // The value may be a secret.
                    let name = other.split('=').next().unwrap_or_default();
                    return Err(Problem::new(
                        Reason::InvalidRequest,
                        format!(
                            "the query's `{}` is not understood, expected `wait=commit`, `wait=durable`, `partial=allow` or `partial=refuse`",
                            Escaped(name.as_bytes())
                        ),
                    ));
                }
            }
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_options_are_parsed_and_others_named() {
        assert_eq!(Query::parse(""), Ok(Query::default()));
        assert_eq!(Query::parse("wait=commit&partial=allow"), Ok(Query { wait: true, partial: true }));
        for wrong in ["wait", "wait=Commit", "token=secret", "wait=commit=1"] {
            let problem = Query::parse(wrong).unwrap_err();
            assert!(!problem.detail.contains("secret"), "{}", problem.detail);
        }
    }
}
