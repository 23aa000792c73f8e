//! Layers of the configuration: defaults, files, environment, command line; the later one wins and every value remembers
//! where it came from. A value is checked against the schema when it enters, so a message can name file, line and key.

use super::schema::{self, FIXED, Key, Kind, RawConfig, sections};
use crate::error::LaunchError;
use keel_model::Notional;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use toml::de::{DeTable, DeValue};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A file and the line in it.
    File(String, usize),
    /// A variable.
    Variable(String),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(name, line) => write!(f, "{name}, line {line}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(flag) => write!(f, "command line, {flag}"),
        }
    }
}

/// A checked value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Whole(i64),
    /// A number that is not money.
    Real(f64),
    /// A text, a word or an exact decimal.
    Text(String),
    /// A list of texts.
    Words(Vec<String>),
}

impl Value {
    fn to_toml(&self) -> toml::Value {
        match self {
            Self::Flag(value) => toml::Value::Boolean(*value),
            Self::Whole(value) => toml::Value::Integer(*value),
            Self::Real(value) => toml::Value::Float(*value),
            Self::Text(value) => toml::Value::String(value.clone()),
            Self::Words(values) => toml::Value::Array(values.iter().cloned().map(toml::Value::String).collect()),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_toml(), f)
    }
}

/// What was written, before it is known whether it fits its key.
enum Written<'a> {
    Flag(bool),
    /// A number as it was written.
    Number(String),
    Text(&'a str),
    Words(Vec<String>),
    /// Text from a variable: its type is the key's.
    Untyped(&'a str),
}

/// All values so far.
#[derive(Clone, Debug)]
pub struct Layers {
    values: BTreeMap<(&'static str, &'static str), (Value, Origin)>,
}

impl Layers {
    /// The defaults.
    pub fn defaults() -> Result<Self, LaunchError> {
        let mut layers = Self { values: BTreeMap::new() };
        let mut text = String::new();
        for section in sections() {
            text.push_str(&format!("[{}]\n", section.name));
            section.keys.iter().for_each(|key| text.push_str(&format!("{} = {}\n", key.name, key.default)));
        }
        layers.add_text("built-in defaults", &text)?;
        layers.values.values_mut().for_each(|(_, origin)| *origin = Origin::Default);
        Ok(layers)
    }

    /// Adds a file's text. `name` is what messages call it.
    pub fn add_text(&mut self, name: &str, text: &str) -> Result<(), LaunchError> {
        let parsed = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            LaunchError::config(format!("{name}, line {line}"), error.message(), "correct the TOML there")
        })?;
        for (section_name, section_value) in parsed.get_ref() {
            let line = line_of(text, section_name.span().start);
            let place = Origin::File(name.to_owned(), line);
            let section = find_section(section_name.get_ref(), &place)?;
            let DeValue::Table(keys) = section_value.get_ref() else {
                return Err(LaunchError::config(
                    place,
                    format!("`{}` is a section", section.name),
                    format!("write [{}] and its keys below it", section.name),
                ));
            };
            for (key_name, value) in keys {
                let origin = Origin::File(name.to_owned(), line_of(text, key_name.span().start));
                let key = find_key(section, key_name.get_ref(), &origin)?;
                let value = check(section.name, key, written(value.get_ref()), &origin)?;
                self.values.insert((section.name, key.name), (value, origin));
            }
        }
        Ok(())
    }

    /// Adds the variables `KEEL__SECTION__KEY` out of an environment.
    pub fn add_variables(
        &mut self,
        variables: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    ) -> Result<(), LaunchError> {
        let mut ours: Vec<_> = variables.filter(|(name, _)| name.as_encoded_bytes().starts_with(b"KEEL__")).collect();
        ours.sort();
        for (name, value) in ours {
            let name = name.to_string_lossy().into_owned();
            let origin = Origin::Variable(name.clone());
            let value = value
                .to_str()
                .ok_or_else(|| LaunchError::config(&origin, "its value is not UTF-8", "set it to plain text"))?;
            let path = name.trim_start_matches("KEEL__").to_ascii_lowercase();
            let (section, key) = path.split_once("__").ok_or_else(|| {
                LaunchError::config(
                    &origin,
                    "a variable of the configuration is called KEEL__SECTION__KEY",
                    "rename it, for example KEEL__RUN__DURATION_S",
                )
            })?;
            let section = find_section(section, &origin)?;
            let key = find_key(section, key, &origin)?;
            let value = check(section.name, key, Written::Untyped(value), &origin)?;
            self.values.insert((section.name, key.name), (value, origin));
        }
        Ok(())
    }

    /// Variables that look like ours and are not read, because the first two words are parted by one underscore.
    #[must_use]
    pub fn misspelled(names: impl Iterator<Item = std::ffi::OsString>) -> Vec<String> {
        let mut names: Vec<String> = names
            .map(|name| name.to_string_lossy().into_owned())
            .filter(|name| name.starts_with("KEEL_") && !name.starts_with("KEEL__") && name.contains("__"))
            .collect();
        names.sort();
        names
    }

    /// Sets a value from the command line.
    pub fn add_flag(&mut self, flag: &'static str, section: &str, name: &str, value: &str) -> Result<(), LaunchError> {
        let origin = Origin::Flag(flag);
        let section = find_section(section, &origin)?;
        let key = find_key(section, name, &origin)?;
        let value = check(section.name, key, Written::Untyped(value), &origin)?;
        self.values.insert((section.name, key.name), (value, origin));
        Ok(())
    }

    /// Where a value came from.
    #[must_use]
    pub fn origin(&self, section: &str, name: &str) -> Origin {
        self.values
            .iter()
            .find(|((s, n), _)| *s == section && *n == name)
            .map_or(Origin::Default, |(_, (_, origin))| origin.clone())
    }

    /// All values in the order of the schema: section, key, value, origin.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, &Value, &Origin)> {
        sections().iter().flat_map(move |section| {
            section.keys.iter().filter_map(move |key| {
                let (value, origin) = self.values.get(&(section.name, key.name))?;
                Some((section.name, key.name, value, origin))
            })
        })
    }

    /// The values of one section as text, in the order of the schema.
    pub fn section<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'static str, String)> + 'a {
        self.iter().filter(move |(section, ..)| *section == name).map(|(_, key, value, _)| {
            let text = match value {
                Value::Text(text) => text.clone(),
                Value::Words(words) => words.join(","),
                other => other.to_string(),
            };
            (key, text)
        })
    }

    /// The typed configuration.
    pub fn to_raw(&self) -> Result<RawConfig, LaunchError> {
        let mut root = toml::Table::new();
        // Those of the strategies are read by their strategies.
        let fixed = self.iter().filter(|(section, ..)| FIXED.iter().any(|it| it.name == *section));
        for (section, key, value, _) in fixed {
            let table = root.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let toml::Value::Table(table) = table {
                table.insert(key.to_owned(), value.to_toml());
            }
        }
        serde_path_to_error::deserialize::<_, RawConfig>(toml::Value::Table(root)).map_err(|error| {
            let path = error.path().to_string();
            let (section, key) = path.split_once('.').unwrap_or((&path, ""));
            LaunchError::config(self.origin(section, key), format!("`{path}`: {}", error.inner()), "correct the value")
        })
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

fn find_section(name: &str, origin: &Origin) -> Result<&'static schema::Section, LaunchError> {
    sections().iter().find(|section| section.name == name).ok_or_else(|| {
        // Somebody may have written a key without its section.
        let home = sections().iter().find(|section| section.keys.iter().any(|key| key.name == name));
        let remedy = match (home, schema::nearest(name, sections().iter().map(|section| section.name))) {
            (Some(home), _) => format!("it belongs into section [{}]", home.name),
            (None, Some(near)) => format!("did you mean `{near}`?"),
            (None, None) => {
                format!("sections are {}", sections().iter().map(|it| it.name).collect::<Vec<_>>().join(", "))
            }
        };
        LaunchError::config(origin, format!("unknown section `{name}`"), remedy)
    })
}

fn find_key(section: &'static schema::Section, name: &str, origin: &Origin) -> Result<&'static Key, LaunchError> {
    section.keys.iter().find(|key| key.name == name).ok_or_else(|| {
        let secret =
            ["secret", "api_key", "apikey", "password", "token", "private_key"].iter().any(|word| name.contains(word));
        let elsewhere = sections().iter().find(|it| it.keys.iter().any(|key| key.name == name));
        let remedy = match (schema::nearest(name, section.keys.iter().map(|key| key.name)), elsewhere) {
            _ if secret => "keys never stand in the configuration; see `credentials.file`".to_owned(),
            (_, Some(other)) => format!("it belongs into section [{}]", other.name),
            (Some(near), None) => format!("did you mean `{near}`?"),
            (None, None) => format!(
                "keys of [{}] are {}",
                section.name,
                section.keys.iter().map(|key| key.name).collect::<Vec<_>>().join(", ")
            ),
        };
        LaunchError::config(origin, format!("unknown key `{}.{name}`", section.name), remedy)
    })
}

fn written<'a>(value: &'a DeValue<'_>) -> Written<'a> {
    match value {
        DeValue::String(text) => Written::Text(text),
        DeValue::Integer(number) if number.radix() == 10 => Written::Number(number.as_str().to_owned()),
        DeValue::Integer(number) => Written::Number(
            i64::from_str_radix(number.as_str(), number.radix()).map_or_else(|_| number.to_string(), |n| n.to_string()),
        ),
        DeValue::Float(number) => Written::Number(number.as_str().to_owned()),
        DeValue::Boolean(value) => Written::Flag(*value),
        DeValue::Array(values) => Written::Words(
            values
                .iter()
                .map(|value| match value.get_ref() {
                    DeValue::String(text) => text.to_string(),
                    _ => String::new(),
                })
                .collect(),
        ),
        DeValue::Datetime(_) | DeValue::Table(_) => Written::Words(vec![String::new()]),
    }
}

/// Checks a value against its key.
fn check(section: &str, key: &Key, value: Written<'_>, origin: &Origin) -> Result<Value, LaunchError> {
    let name = format!("`{section}.{}`", key.name);
    let fail = |cause: String, remedy: String| Err(LaunchError::config(origin, format!("{name} {cause}"), remedy));
    let wanted = expectation(key.kind);
    let text = match &value {
        Written::Text(text) | Written::Untyped(text) => (*text).to_owned(),
        Written::Number(text) => text.clone(),
        Written::Flag(value) => value.to_string(),
        Written::Words(_) => "a list".to_owned(),
    };
    let is_text = matches!(value, Written::Text(_));
    let is_number = matches!(value, Written::Number(_) | Written::Untyped(_));
    match (key.kind, value) {
        (Kind::Flag, Written::Flag(value)) => Ok(Value::Flag(value)),
        (Kind::Flag, Written::Untyped("true" | "1" | "yes")) => Ok(Value::Flag(true)),
        (Kind::Flag, Written::Untyped("false" | "0" | "no")) => Ok(Value::Flag(false)),
        (Kind::Text, Written::Text(text) | Written::Untyped(text)) => Ok(Value::Text(text.to_owned())),
        (Kind::Word(words), Written::Text(text) | Written::Untyped(text)) => match words.contains(&text) {
            true => Ok(Value::Text(text.to_owned())),
            false => {
                let near = schema::nearest(text, words.iter().copied())
                    .map(|near| format!("; did you mean `{near}`?"))
                    .unwrap_or_default();
                fail(format!("is `{text}`"), format!("write {wanted}{near}"))
            }
        },
        (Kind::Words, Written::Words(words)) if words.iter().all(|word| !word.trim().is_empty()) => {
            Ok(Value::Words(words))
        }
        (Kind::Words, Written::Untyped(text)) => Ok(Value::Words(
            text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect(),
        )),
        (Kind::Whole(min, max), _) if is_number => match text.parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(Value::Whole(number)),
            Ok(number) => fail(format!("is {number}, outside {min} to {max}"), format!("write {wanted}")),
            Err(_) => fail(format!("is `{text}`"), format!("write {wanted}")),
        },
        (Kind::Real(min, max), _) if is_number => match text.parse::<f64>() {
            Ok(number) if number >= min && number <= max => Ok(Value::Real(number)),
            Ok(number) => fail(format!("is {number}, outside {min} to {max}"), format!("write {wanted}")),
            Err(_) => fail(format!("is `{text}`"), format!("write {wanted}")),
        },
        (Kind::Decimal(min, max), _) if is_number || is_text => match decimal_within(&text, min, max) {
            Ok(true) => Ok(Value::Text(text)),
            Ok(false) => fail(format!("is {text}, outside {min} to {max}"), format!("write {wanted}")),
            Err(cause) => fail(format!("is `{text}`: {cause}"), format!("write {wanted}")),
        },
        (Kind::Whole(..) | Kind::Real(..), _) if is_text => fail(
            format!("is the text \"{text}\""),
            format!("write {wanted}, without quotes and without a unit: the unit is in the key's name"),
        ),
        _ => fail(format!("is {text}"), format!("write {wanted}")),
    }
}

/// What a key wants, for people.
#[must_use]
pub fn expectation(kind: Kind) -> String {
    match kind {
        Kind::Flag => "true or false".to_owned(),
        Kind::Word(words) => words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or "),
        Kind::Text => "a text in quotes".to_owned(),
        Kind::Words => "a list of texts, such as [\"BTCUSDT\"]".to_owned(),
        Kind::Whole(min, i64::MAX) => format!("a whole number of at least {min}"),
        Kind::Whole(min, max) => format!("a whole number from {min} to {max}"),
        Kind::Real(min, max) => format!("a number from {min} to {max}"),
        Kind::Decimal(min, max) => format!("an exact decimal from {min} to {max}"),
    }
}

fn decimal_within(text: &str, min: &str, max: &str) -> Result<bool, keel_model::NumberError> {
    let (value, min, max): (Notional, Notional, Notional) = (text.parse()?, min.parse()?, max.parse()?);
    Ok(value.cmp(&min) != Ordering::Less && value.cmp(&max) != Ordering::Greater)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let mut layers = Layers::defaults().unwrap();
        layers.add_text("x.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn defaults_make_a_whole_configuration() {
        let raw = Layers::defaults().unwrap().to_raw().unwrap();
        assert_eq!(raw.run.mode, "paper");
        assert_eq!(raw.stop.total_ms, 30_000);
    }

    #[test]
    fn the_later_layer_wins_and_each_value_knows_its_origin() {
        let mut layers = Layers::defaults().unwrap();
        layers.add_text("a.toml", "[run]\nseed = 1\nduration_s = 5\n").unwrap();
        layers.add_text("b.toml", "\n\n[run]\nseed = 2\n").unwrap();
        layers
            .add_variables([("KEEL__RUN__DURATION_S".into(), "7.5".into()), ("OTHER".into(), "x".into())].into_iter())
            .unwrap();
        layers.add_flag("--on-exit", "run", "on_exit", "keep").unwrap();
        let raw = layers.to_raw().unwrap();
        assert_eq!((raw.run.seed, raw.run.duration_s, raw.run.on_exit.as_str()), (2, 7.5, "keep"));
        assert_eq!(layers.origin("run", "seed").to_string(), "b.toml, line 4");
        assert_eq!(layers.origin("run", "duration_s").to_string(), "variable KEEL__RUN__DURATION_S");
        assert_eq!(layers.origin("run", "on_exit").to_string(), "command line, --on-exit");
        assert_eq!(layers.origin("run", "mode").to_string(), "default");
    }

    #[test]
    fn each_mistake_is_refused_with_place_cause_and_remedy() {
        for (text, wanted) in [
            ("[runn]\n", "x.toml, line 1: unknown section `runn`; did you mean `run`?"),
            ("seed = 1\n", "x.toml, line 1: unknown section `seed`; it belongs into section [run]"),
            ("[run]\n\nsede = 1\n", "x.toml, line 3: unknown key `run.sede`; did you mean `seed`?"),
            ("[run]\nsymbols = []\n", "x.toml, line 2: unknown key `run.symbols`; it belongs into section [venue]"),
            ("[credentials]\napi_secret = 'x'\n", "keys never stand in the configuration"),
            ("[run]\nmode = \"papr\"\n", "`run.mode` is `papr`; write \"paper\" or \"live\"; did you mean `paper`?"),
            ("[run]\nduration_s = \"90s\"\n", "the unit is in the key's name"),
            ("[run]\nduration_s = -1\n", "`run.duration_s` is -1, outside 0 to 31536000"),
            ("[run]\nduration_s = nan\n", "outside 0"),
            ("[run]\nseed = 1.5\n", "`run.seed` is `1.5`; write a whole number of at least 0"),
            ("[run]\nseed = true\n", "`run.seed` is true"),
            ("[risk]\nopen_orders_max_count = 0\n", "outside 1 to 10000"),
            ("[risk]\ndaily_loss_max_quote = \"much\"\n", "does not belong into a decimal number"),
            ("[risk]\ndaily_loss_max_quote = 0.5\n", "is 0.5, outside 1 to 1000000000"),
            ("[restart]\nauto = \"yes\"\n", "write true or false"),
            ("[venue]\nsymbols = \"BTCUSDT\"\n", "write a list of texts"),
            ("[venue]\nsymbols = [1]\n", "write a list of texts"),
            ("run = 5\n", "`run` is a section; write [run]"),
            ("[run\n", "x.toml, line 1"),
            ("[run]\nseed = 1\nseed = 2\n", "duplicate key"),
        ] {
            let message = refused(text);
            assert!(message.contains(wanted), "{text:?}\n  gave {message}\n  not  {wanted}");
        }
    }

    #[test]
    fn variables_are_held_to_the_same_rules() {
        let add = |name: &str, value: &str| {
            Layers::defaults()
                .unwrap()
                .add_variables([(name.into(), value.into())].into_iter())
                .unwrap_err()
                .to_string()
        };
        assert!(add("KEEL__RUN__SEEDD", "1").contains("did you mean `seed`?"));
        assert!(add("KEEL__RUN", "1").contains("KEEL__SECTION__KEY"));
        assert!(add("KEEL__RUN__SEED", "many").contains("variable KEEL__RUN__SEED: `run.seed` is `many`"));
    }

    #[test]
    fn a_variable_with_one_underscore_too_few_is_noticed() {
        let names = ["KEEL_RUN__SEED", "KEEL__RUN__SEED", "KEEL_SUPERVISED", "KEELX__A", "PATH"];
        assert_eq!(Layers::misspelled(names.iter().map(Into::into)), ["KEEL_RUN__SEED"]);
    }

    #[test]
    fn exact_decimals_keep_the_digits_they_were_written_with() {
        let mut layers = Layers::defaults().unwrap();
        layers
            .add_text("x.toml", "[risk]\ndaily_loss_max_quote = 250.10\norder_notional_max_quote = '12.345678'\n")
            .unwrap();
        let raw = layers.to_raw().unwrap();
        assert_eq!(
            (raw.risk.daily_loss_max_quote.as_str(), raw.risk.order_notional_max_quote.as_str()),
            ("250.10", "12.345678")
        );
    }
}
