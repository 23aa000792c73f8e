//! The verb `new-strategy`: a crate of the user's own that runs in backtest, paper and live as it is.
//!
//! Invariants: a folder that exists is never touched; what is written needs nothing but Keel's source, by path or by git; the
//! versions of all dependencies are those of Keel's own lock file, where it is at hand.

use crate::cli::Common;
use crate::config::schema::sections;
use crate::error::LaunchError;
use crate::out;
use clap::Args;
use keel_lifecycle::ExitStatus;
use std::path::{Path, PathBuf};

const NAME_CHARS_MAX: usize = 48;

/// The strategy that is written, as an example of this crate: so it is built and tested with everything else.
const EXAMPLE: &str = include_str!("../examples/above_average.rs");

/// Flags of `new-strategy`.
#[derive(Clone, Debug, Args)]
pub struct NewStrategyArgs {
    /// Name of the strategy and of its crate: small letters, digits and dashes
    pub name: String,
    /// Folder in which the crate's folder is made [default: .]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where Keel's source is: a folder, or the address of a git repository [default: the folder this program was built from]
    #[arg(long, value_name = "FOLDER|URL")]
    pub keel: Option<String>,
}

/// Where Keel's source is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Folder(PathBuf),
    Git(String),
}

impl Source {
    fn find(asked: Option<&str>) -> Result<Self, LaunchError> {
        let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let folder = match asked {
            Some(url) if url.contains("://") || url.starts_with("git@") => return Ok(Self::Git(url.to_owned())),
            Some(folder) => PathBuf::from(folder),
            None => built_from,
        };
        let whole = folder.canonicalize().ok().filter(|it| it.join("crates/keel/Cargo.toml").is_file());
        whole.map(Self::Folder).ok_or_else(|| {
            LaunchError::Usage(format!(
                "Keel's source is not at {}; name its folder or its git repository with --keel",
                folder.display()
            ))
        })
    }

    /// The dependency on one of Keel's crates, as it stands in a `Cargo.toml`.
    fn dependency(&self, folder: &str) -> String {
        match self {
            Self::Folder(root) => format!("path = {}", quoted(&root.join("crates").join(folder).to_string_lossy())),
            Self::Git(url) => format!("git = {}", quoted(url)),
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Writes the crate.
pub fn run(common: &Common, args: &NewStrategyArgs) -> Result<ExitStatus, LaunchError> {
    check_name(&args.name)?;
    let source = Source::find(args.keel.as_deref())?;
    let folder = args.dir.clone().unwrap_or_else(|| PathBuf::from(".")).join(&args.name);
    let files = files(&args.name, &source);
    write(&folder, &files, &source)?;
    if common.json {
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        out::line(&serde_json::json!({ "name": args.name, "folder": folder, "files": names }).to_string());
    } else {
        out::line(&format!("wrote {}; try it: cd {0} && cargo test", folder.display()));
    }
    Ok(ExitStatus::Clean)
}

/// Names that Cargo or the configuration would not take.
fn check_name(name: &str) -> Result<(), LaunchError> {
    const TAKEN_BY_CARGO: &[&str] =
        &["test", "core", "std", "alloc", "proc-macro", "build", "deps", "examples", "incremental"];
    const KEYWORDS: &[&str] = &[
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
        "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
        "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super",
        "trait", "true", "try", "type", "typeof", "union", "unsafe", "unsized", "use", "virtual", "where", "while",
        "yield",
    ];
    let refuse = |cause: String| Err(LaunchError::Usage(format!("{cause}; choose another name")));
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(fits) && !name.ends_with('-');
    if !is_plain || name.contains("--") || name.len() > NAME_CHARS_MAX {
        return Err(LaunchError::Usage(format!(
            "`{name}` is not a name for a strategy: use small letters, digits and dashes, beginning with a letter, at most \
             {NAME_CHARS_MAX} of them, such as my-first"
        )));
    }
    if KEYWORDS.contains(&name) {
        return refuse(format!("`{name}` is a word of the language"));
    }
    if TAKEN_BY_CARGO.contains(&name) || name == "keel" || name.starts_with("keel-") || name == "launcher" {
        return refuse(format!("`{name}` is taken by the tools"));
    }
    if keel_strategy::strategies().iter().any(|info| info.name == name) {
        return refuse(format!("there is a strategy `{name}` already"));
    }
    let section = name.replace('-', "_");
    if sections().iter().any(|it| it.name == section) {
        return refuse(format!("[{section}] is a section of the configuration already"));
    }
    Ok(())
}

/// The files and what is in them.
fn files(name: &str, source: &Source) -> Vec<(&'static str, String)> {
    let mut words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    let type_name: String = words.by_ref().collect();
    let filled = |text: &str| {
        text.replace("@NAME@", name)
            .replace("@TYPE@", &type_name)
            .replace("@SECTION@", &name.replace('-', "_"))
            .replace("@KEEL@", &source.dependency("keel"))
            .replace("@LAUNCHER@", &source.dependency("launcher"))
    };
    vec![
        ("Cargo.toml", filled(include_str!("new_strategy/Cargo.toml.txt"))),
        ("src/main.rs", EXAMPLE.replace("AboveAverage", &type_name).replace("above-average", name)),
        ("config.toml", filled(include_str!("new_strategy/config.toml.txt"))),
        ("README.md", filled(include_str!("new_strategy/README.md.txt"))),
        (".gitignore", "/target\n/keel-data\n".to_owned()),
    ]
}

fn write(folder: &Path, files: &[(&str, String)], source: &Source) -> Result<(), LaunchError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |error: std::io::Error| {
            let exists = error.kind() == std::io::ErrorKind::AlreadyExists;
            let remedy = if exists {
                "it is there already and stays as it is; choose another name or another --dir"
            } else {
                "name a folder of yours with --dir"
            };
            LaunchError::Io { what: "write the new strategy", path, source: error, remedy: remedy.into() }
        }
    };
    let parent = folder.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(failed(parent))?;
    std::fs::create_dir(folder).map_err(failed(folder))?;
    std::fs::create_dir(folder.join("src")).map_err(failed(folder))?;
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(failed(&path))?;
    }
    // The same versions as Keel's own; without it Cargo chooses.
    if let Source::Folder(root) = source
        && root.join("Cargo.lock").is_file()
    {
        let path = folder.join("Cargo.lock");
        std::fs::copy(root.join("Cargo.lock"), &path).map_err(failed(&path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cargo_or_the_configuration_would_not_take_are_refused() {
        for name in ["", "Mine", "my_own", "1st", "-x", "x-", "a--b", "my own", "../x", "é", &"x".repeat(49)] {
            assert!(check_name(name).unwrap_err().to_string().contains("is not a name"), "{name}");
        }
        for (name, cause) in [
            ("fn", "a word of the language"),
            ("core", "taken by the tools"),
            ("keel-x", "taken by the tools"),
            ("launcher", "taken by the tools"),
            ("ema-cross", "there is a strategy"),
            ("risk", "[risk] is a section"),
        ] {
            assert!(check_name(name).unwrap_err().to_string().contains(cause), "{name}");
        }
        check_name("my-1st").unwrap();
    }

    #[test]
    fn what_is_written_is_whole_and_a_folder_that_exists_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let args = NewStrategyArgs { name: "my-first".into(), dir: Some(dir.path().join("a/b")), keel: None };
        run(&Common::default(), &args).unwrap();
        let read = |name: &str| std::fs::read_to_string(dir.path().join("a/b/my-first").join(name)).unwrap();
        let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
        let keel = manifest["dependencies"]["keel"]["path"].as_str().unwrap();
        assert!(Path::new(keel).join("Cargo.toml").is_file(), "{keel}");
        assert!(read("src/main.rs").contains("struct MyFirst {") && read("config.toml").contains("[my_first]"));
        for name in ["Cargo.toml", "src/main.rs", "config.toml", "README.md"] {
            assert!(!read(name).contains('@'), "{name} has an empty place");
        }
        let before = read("src/main.rs");
        let error = run(&Common::default(), &args).unwrap_err().to_string();
        assert!(error.contains("stays as it is"), "{error}");
        assert_eq!(read("src/main.rs"), before);
    }

    #[test]
    fn keel_may_be_in_a_repository_and_must_be_somewhere() {
        let git = Source::find(Some("https://example.com/keel.git")).unwrap();
        assert_eq!(git.dependency("keel"), "git = \"https://example.com/keel.git\"");
        let error = Source::find(Some("/nowhere")).unwrap_err().to_string();
        assert!(error.contains("/nowhere") && error.contains("--keel"), "{error}");
    }
}
