//! What a verb may write over, looked at before it begins: never one of its inputs, never its own other output, and of other
//! files only those of the same kind that this program wrote, unless `--force` says otherwise.

use crate::error::LaunchError;
use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// So many bytes at the beginning of a file tell its kind.
const HEAD_BYTES: u64 = 4_096;

/// Kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// What `backtest --out` saves.
    Run,
    /// A page of ours.
    Page,
}

impl OutputKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Run => "a saved run",
            Self::Page => "a page of this program",
        }
    }

    /// What such a file has near its beginning.
    const fn mark(self) -> &'static str {
        match self {
            Self::Run => "\"format\":\"keel-run\"",
            Self::Page => "<meta name=\"generator\" content=\"Keel\">",
        }
    }
}

/// A file that is to be written, with the flag that names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output<'a> {
    pub(crate) flag: &'static str,
    pub(crate) path: &'a Path,
    pub(crate) kind: OutputKind,
}

/// Refuses outputs that would destroy something.
pub(crate) fn check<'a>(
    inputs: impl IntoIterator<Item = &'a Path>,
    outputs: &[Output<'_>],
    is_forced: bool,
) -> Result<(), LaunchError> {
    let inputs: Vec<&Path> = inputs.into_iter().collect();
    for (at, output) in outputs.iter().enumerate() {
        refuse_inputs(inputs.iter().copied(), output.flag, output.path)?;
        if let Some(other) = outputs.iter().take(at).find(|other| is_same(other.path, output.path)) {
            return Err(LaunchError::Usage(format!(
                "{} and {}: both are {}; give each a file of its own",
                other.flag,
                output.flag,
                output.path.display()
            )));
        }
        if !is_forced && !is_replaceable(output.path, output.kind) {
            return Err(LaunchError::Usage(format!(
                "{}: {} is there already and is not {}; name another file, or replace it with --force",
                output.flag,
                output.path.display(),
                output.kind.name()
            )));
        }
    }
    Ok(())
}

/// Refuses an output that is an input, `--force` or not.
pub(crate) fn refuse_inputs<'a>(
    inputs: impl IntoIterator<Item = &'a Path>,
    flag: &str,
    output: &Path,
) -> Result<(), LaunchError> {
    let mut inputs = inputs.into_iter();
    if inputs.any(|input| is_same(input, output)) {
        return Err(LaunchError::Usage(format!(
            "{flag}: {} is read by this command and is never written over; name another file",
            output.display()
        )));
    }
    Ok(())
}

/// The same file, whatever it is called: by device and number where both are there, otherwise by folder and name.
fn is_same(one: &Path, other: &Path) -> bool {
    let number = |it: Metadata| (it.dev(), it.ino());
    match (std::fs::metadata(one), std::fs::metadata(other)) {
        (Ok(one), Ok(other)) => number(one) == number(other),
        _ => place(one).is_some_and(|one| place(other) == Some(one)),
    }
}

/// Where a file that need not be there would be.
fn place(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some(std::fs::canonicalize(folder).ok()?.join(path.file_name()?))
}

/// Nothing there, nothing in it, or one of ours of the same kind. A folder is left to the writing, which refuses it.
fn is_replaceable(path: &Path, kind: OutputKind) -> bool {
    let Ok(found) = std::fs::metadata(path) else { return true };
    if !found.is_file() {
        return found.is_dir();
    }
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
    read.is_ok() && (head.is_empty() || String::from_utf8_lossy(&head).contains(kind.mark()))
}
