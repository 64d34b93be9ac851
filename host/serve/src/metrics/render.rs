//! Prometheus' text format.

use std::fmt::Write;

use crate::intake::{Family, FamilyKind};

/// The format's content type.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders families that have samples.
pub(crate) fn render(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let kind = match family.kind {
            FamilyKind::Counter => "counter",
            FamilyKind::Gauge => "gauge",
            FamilyKind::Histogram => "histogram",
        };
        let name = identifier(&family.name);
        let help = family.help.replace('\\', r"\\").replace('\n', r"\n");
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for sample in &family.samples {
            let _ = write!(text, "{name}{}", sample.suffix);
            for (index, (label, value)) in sample.labels.iter().enumerate() {
                let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
                let _ = write!(text, "{}{}=\"{value}\"", if index == 0 { '{' } else { ',' }, identifier(label));
            }
            let end = if sample.labels.is_empty() { "" } else { "}" };
            let _ = writeln!(text, "{end} {}", sample.value);
        }
    }
    text
}

/// Makes a name of what is one but for some characters.
fn identifier(name: &str) -> String {
    name.chars()
        .map(|char| if char.is_ascii_alphanumeric() || matches!(char, '_' | ':') { char } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::Sample;

    #[test]
    fn names_helps_and_labels_are_escaped() {
        let sample = Sample { suffix: "", labels: vec![("export.name".into(), "a\"b\\c\n".into())], value: 1.5 };
        let bare = Sample { suffix: "", labels: vec![], value: 3.0 };
        let family =
            |name: &str, samples| Family { name: name.into(), help: "a\nb".into(), kind: FamilyKind::Gauge, samples };
        let text = render(&[family("x", vec![]), family("a-b", vec![sample, bare])]);
        assert_eq!(text, "# HELP a_b a\\nb\n# TYPE a_b gauge\na_b{export_name=\"a\\\"b\\\\c\\n\"} 1.5\na_b 3\n");
    }
}
