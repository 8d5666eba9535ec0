//! The v1 half: `length` or `files`, and `pieces` (BEP 3).

use super::file::{FileFields, FilePath, PathBudget};
use super::{FileEntry, FileProblem, MetainfoError};
use crate::bencode::{List, Value};

/// The v1 form of a single file called `name`.
pub(super) fn single(fields: &FileFields<'_>, name: &str) -> Result<Vec<FileEntry>, MetainfoError> {
    let entry = fields.entry(FilePath::new([name])).map_err(|problem| MetainfoError::file(name, problem))?;
    Ok(vec![entry])
}

/// The files of `files`, pad files counted, in their order.
pub(super) fn files(list: List<'_>) -> Result<Vec<FileEntry>, MetainfoError> {
    let mut reader = Reader::default();
    list.iter().try_for_each(|file| reader.read(file))?;
    reader.check_paths()?;
    if reader.files.is_empty() { Err(MetainfoError::NoFiles) } else { Ok(reader.files) }
}

#[derive(Default)]
struct Reader<'a> {
    files: Vec<FileEntry>,
    budget: PathBudget,
    /// The encoded components of each path that will exist, and the index of its file.
    paths: Vec<(&'a [u8], usize)>,
    components: Vec<&'a [u8]>,
}

impl<'a> Reader<'a> {
    fn read(&mut self, file: Value<'a>) -> Result<(), MetainfoError> {
        let index = self.files.len();
        let dict = file.as_dict().ok_or_else(|| unnamed(index, FileProblem::NotADict))?;
        let fields = FileFields::of(dict);
        let path = self.path(&fields).map_err(|problem| unnamed(index, problem))?;
        self.budget.take(&path)?;
        let entry = fields.entry(path.clone()).map_err(|problem| MetainfoError::file(&path, problem))?;
        self.files.push(entry);
        Ok(())
    }

    fn path(&mut self, fields: &FileFields<'a>) -> Result<FilePath, FileProblem> {
        let path = fields.path(&mut self.components);
        if fields.is_pad() {
            // Pad files share paths, and may go without (BEP 47).
            return Ok(path.map_or_else(|_| FilePath::new([".pad"]), |(path, _)| path));
        }
        let (path, list) = path?;
        self.paths.push((inside(list), self.files.len()));
        Ok(path)
    }

    /// Finds a path that occurs twice, or that is a folder of another.
    ///
    /// It compares the encoded components: these are prefix-free, so one path lies below another if and only if its
    /// encoding begins with the other's, and in sorted order the next neighbour is then such a one. The bytes are
    /// compared and not the decoded text, because names in a legacy encoding can look equal once decoded.
    fn check_paths(&mut self) -> Result<(), MetainfoError> {
        self.paths.sort_unstable();
        for pair in self.paths.windows(2) {
            let ((a, _), (b, index)) = (pair[0], pair[1]);
            if b.starts_with(a) {
                let problem = if a == b { FileProblem::DuplicatePath } else { FileProblem::FileAndFolder };
                let at_fault = if a == b { index } else { pair[0].1 };
                return Err(MetainfoError::file(&self.files[at_fault].path, problem));
            }
        }
        Ok(())
    }
}

/// A list without its two ends.
fn inside(list: List<'_>) -> &[u8] {
    list.raw().get(1..list.raw().len() - 1).unwrap_or_default()
}

/// A problem of a file that has no path to name it by.
fn unnamed(index: usize, problem: FileProblem) -> MetainfoError {
    MetainfoError::file(&format!("#{index}"), problem)
}
