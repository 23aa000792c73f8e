//! The sections of strategies and of their exits, made of what the strategies declare: nothing about them is written twice.

use super::schema::{FIXED, Key, Kind, Section};
use keel_strategy::{ParamKind, ParamSpec, exits, registry};
use std::sync::OnceLock;

/// The section of the exits.
pub const EXITS: &str = "exits";
/// Longest line of a description in a file.
const LINE_CHARS_MAX: usize = 116;

/// All sections in the order in which they are written: those of [`super::schema`], and after `[strategy]` those of the exits
/// and of each strategy that has something to set. Made once: what is leaked here is leaked once for the life of the program.
#[must_use]
pub fn sections() -> &'static [Section] {
    static ALL: OnceLock<Vec<Section>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all = Vec::new();
        for section in FIXED {
            all.push(*section);
            if section.name == "strategy" {
                all.push(exits_section());
                all.extend(registry::strategies().iter().filter(|info| !info.params.is_empty()).map(|info| {
                    let doc = format!("Strategy `{}`: {}.", info.name, info.description);
                    section_of(leak(info.section()), &doc, info.params)
                }));
            }
        }
        all
    })
}

fn exits_section() -> Section {
    let doc = "Exits of every strategy that runs, besides its own. Stops of strategies that are built for it rest at the \
               venue; for the others the program watches and closes at the market. Not for strategies of two legs.";
    section_of(EXITS, doc, exits::PARAMS)
}

fn section_of(name: &'static str, doc: &str, params: &'static [ParamSpec]) -> Section {
    let keys: Vec<Key> = params.iter().map(key_of).collect();
    Section { name, doc: wrapped(doc), keys: keys.leak() }
}

fn key_of(spec: &ParamSpec) -> Key {
    let default = match spec.kind {
        ParamKind::Whole(..) => spec.default.to_owned(),
        ParamKind::Real(..) if spec.default.contains('.') => spec.default.to_owned(),
        ParamKind::Real(..) => format!("{}.0", spec.default),
        ParamKind::Money(..) | ParamKind::Word(_) | ParamKind::Text(_) => format!("\"{}\"", spec.default),
    };
    let kind = match spec.kind {
        ParamKind::Whole(from, to) => {
            Kind::Whole(i64::try_from(from).unwrap_or(i64::MAX), i64::try_from(to).unwrap_or(i64::MAX))
        }
        ParamKind::Real(from, to) => Kind::Real(from, to),
        ParamKind::Money(from, to) => Kind::Decimal(leak(from.to_string()), leak(to.to_string())),
        ParamKind::Word(words) => Kind::Word(words),
        ParamKind::Text(_) => Kind::Text,
    };
    Key { name: spec.name, kind, default: leak(default), doc: wrapped(spec.description) }
}

fn leak(text: String) -> &'static str {
    text.leak()
}

/// A description in lines, each with the blank before it that follows the comment sign.
fn wrapped(text: &str) -> &'static [&'static str] {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < LINE_CHARS_MAX => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!(" {word}")),
        }
    }
    lines.into_iter().map(leak).collect::<Vec<_>>().leak()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_strategy_has_a_section_with_exactly_its_parameters_and_defaults() {
        let declared = registry::strategies().iter().map(|info| (info.section(), info.params));
        for (name, params) in declared.chain([(EXITS.to_owned(), exits::PARAMS)]) {
            let section = sections().iter().find(|section| section.name == name);
            assert_eq!(section.is_some(), !params.is_empty(), "{name}");
            let keys = section.map_or(&[][..], |section| section.keys);
            assert_eq!(keys.len(), params.len(), "{name}");
            for (key, param) in keys.iter().zip(params) {
                let default = key.default.trim_matches('"');
                let same = default == param.default || default.parse::<f64>() == param.default.parse::<f64>();
                assert!(key.name == param.name && same, "{name}.{}: {default} or {}", param.name, param.default);
                assert!(key.doc.iter().all(|line| line.starts_with(' ') && line.len() <= 120), "{:?}", key.doc);
            }
        }
    }

    #[test]
    fn no_section_is_there_twice() {
        let mut names: Vec<_> = sections().iter().map(|section| section.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "a strategy must not be called like a section");
    }
}
