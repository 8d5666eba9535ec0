//! The v2 half: `file tree` (BEP 52).

use super::file::{FileFields, FilePath, PathBudget};
use super::{FileEntry, FileProblem, MAX_PATH_DEPTH, MetainfoError};
use crate::bencode::{Dict, Scanner, Token, Value};

/// The files of a file tree in its order, which is their order in the pieces.
///
/// BEP 52 wants the tree sorted. Where it is not, its order counts: deployed clients do the same.
pub(super) fn files(tree: Dict<'_>) -> Result<Vec<FileEntry>, MetainfoError> {
    let mut walk = Walk {
        scan: Scanner::new(tree.raw()),
        names: Vec::new(),
        files: Vec::new(),
        budget: PathBudget::default(),
    };
    walk.run()?;
    if walk.files.is_empty() { Err(MetainfoError::NoFiles) } else { Ok(walk.files) }
}

/// Walks the tree token by token, each byte once however deep it is.
struct Walk<'a> {
    scan: Scanner<'a>,
    /// The folders around the current place, or the file whose dictionary is open.
    names: Vec<&'a [u8]>,
    files: Vec<FileEntry>,
    budget: PathBudget,
}

impl<'a> Walk<'a> {
    fn run(&mut self) -> Result<(), MetainfoError> {
        let mut opened = self.scan.token()? == Token::Dict;
        loop {
            match self.scan.token()? {
                Token::Bytes(b"") => {
                    self.file(opened)?;
                    opened = false;
                }
                Token::Bytes(name) => {
                    self.enter(name)?;
                    opened = true;
                }
                _ if self.names.pop().is_none() => return Ok(()),
                _ => opened = false,
            }
        }
    }

    /// Opens the dictionary of a folder or file.
    fn enter(&mut self, name: &'a [u8]) -> Result<(), MetainfoError> {
        self.names.push(name);
        if self.names.len() > MAX_PATH_DEPTH {
            return Err(self.fail(FileProblem::PathTooDeep));
        }
        match self.scan.token()? {
            Token::Dict => Ok(()),
            _ => Err(self.fail(FileProblem::NotADict)),
        }
    }

    /// Reads what follows an empty key; `alone` if nothing stood before it.
    fn file(&mut self, alone: bool) -> Result<(), MetainfoError> {
        let start = self.scan.pos();
        self.scan.skip()?;
        if !alone || !self.scan.at_end() {
            return Err(self.fail(FileProblem::FileAndFolder));
        }
        let entry = self.entry(Value::checked(self.scan.since(start)))?;
        self.budget.take(&entry.path)?;
        self.files.push(entry);
        Ok(())
    }

    fn entry(&self, value: Value<'a>) -> Result<FileEntry, MetainfoError> {
        let fail = |problem| self.fail(problem);
        let fields = FileFields::of(value.as_dict().ok_or_else(|| fail(FileProblem::NotADict))?);
        let path = FilePath::from_raw(&self.names).map_err(fail)?;
        let mut entry = fields.entry(path).map_err(fail)?;
        if entry.attr.pad {
            return Err(fail(FileProblem::PadInTree));
        }
        if entry.length > 0 {
            entry.pieces_root = Some(fields.pieces_root().map_err(fail)?);
        }
        Ok(entry)
    }

    fn fail(&self, problem: FileProblem) -> MetainfoError {
        let names: Vec<_> = self.names.iter().map(|name| String::from_utf8_lossy(name)).collect();
        MetainfoError::file(&names.join("/"), problem)
    }
}

/// Whether the tree is that of a single file: one entry at the top, and that is a file.
pub(super) fn is_single(tree: Dict<'_>) -> bool {
    let mut entries = tree.iter();
    match (entries.next(), entries.next()) {
        (Some((_, file)), None) => file.as_dict().is_some_and(|d| d.get("").is_some()),
        _ => false,
    }
}
