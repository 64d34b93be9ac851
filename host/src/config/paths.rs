//! The path template of an export: parsed, and checked against how long a file covers.

use std::ops::Range;

use super::defaults::Defaults;
use super::section::{At, Section};
use crate::error::Result;
use crate::layout::{Template, Token};
use crate::plan::{Files, Granularity};

/// The path of an export's files, and where the file says it.
pub fn path(
    section: &Section<'_>,
    defaults: &Defaults,
    granularity: Granularity,
    (files, keeps_table): (Files, bool),
) -> Result<(Template, Range<usize>)> {
    let folders: String = granularity.tokens().iter().map(|token| format!("{{{}}}/", token.name())).collect();
    let default = format!("{}/{folders}{{part}}.{{ext}}", defaults.folder);
    let Some(At { value, span }) = section.text("path")? else {
        let template = Template::parse(&default).expect("the default path is a template");
        return Ok((template, section.span.clone()));
    };
    // A caret inside the text, where the file has it as it is.
    let raw = section.cx.doc.text(span.clone());
    let verbatim = raw.get(1..raw.len().saturating_sub(1)) == Some(value);
    let inside = |part: Range<usize>| match verbatim {
        true => span.start + 1 + part.start..span.start + 1 + part.end,
        false => span.clone(),
    };
    let template = Template::parse(value).map_err(|error| {
        let help = error.help.unwrap_or_else(|| format!("for example `{default}`"));
        section.cx.doc.fail(inside(error.span), error.message).with_help(help)
    })?;
    let written = section.choice_or("granularity", defaults.granularity)?;
    if let Some(fine) = Token::TIME[granularity.tokens().len()..].iter().find(|token| template.has(**token)) {
        let name = format!("{{{}}}", fine.name());
        // A token has a second spelling; then all of the path is meant.
        let at = value.find(&name).map_or(0..value.len(), |at| at..at + name.len());
        let error = section.cx.doc.fail(inside(at), format!("`{name}` is finer than `granularity = \"{written}\"`"));
        return Err(error.with_help(format!(
            "take it out, or set `granularity = \"{}\"`",
            if *fine == Token::Minute { "minute" } else { "hour" }
        )));
    }
    let missing = granularity.tokens().iter().find(|token| !template.has(**token));
    if let Some(missing) = missing
        && (files != Files::Rolling || keeps_table)
    {
        let message = format!("the path does not tell one {written} from another: it has no `{{{}}}`", missing.name());
        let or = if keeps_table { "" } else { "; or set `files = \"rolling\"`" };
        let help = format!("for example `{default}`{or}");
        return Err(section.cx.doc.fail(span, message).with_help(help));
    }
    Ok((template, span))
}
