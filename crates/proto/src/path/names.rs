//! Makes the paths of a torrent unique: no two files alike, no file where a folder is.

use std::collections::{HashMap, HashSet};

use super::Rules;
use super::component::{clean, digest, key, numbered, part_name};
use crate::metainfo::FilePath;

/// A folder of the torrent, as an index into [`Names::folders`].
type Folder = u32;

/// A place that a file or folder can take: where, and the key of its name there.
type Place = (Folder, Box<str>);

/// A file's path, and the folder that it is in.
pub(super) struct Named {
    pub(super) path: Box<str>,
    folder: Folder,
}

/// All names that are given out so far.
pub(super) struct Names {
    rules: Rules,
    /// Each folder's parent and name. The first is where the torrent is put, and has no name.
    folders: Vec<(Folder, Box<str>)>,
    /// The folder that paths in the torrent are relative to: that of the torrent's name, if it has one.
    root: Folder,
    /// Which folder stands for a name; not always of that name, should a file have it already.
    known: HashMap<Place, Folder>,
    taken: HashSet<Place>,
    /// For names that were taken: the next number to try.
    next_number: HashMap<Place, u32>,
}

impl Names {
    pub(super) fn new(rules: Rules, name: Option<&str>) -> Self {
        let mut names = Self {
            rules,
            folders: vec![(0, "".into())],
            root: 0,
            known: HashMap::new(),
            taken: HashSet::new(),
            next_number: HashMap::new(),
        };
        if let Some(name) = name {
            names.root = names.enter(0, clean(name, rules));
        }
        names
    }

    /// Gives a file a path of its own.
    pub(super) fn add(&mut self, raw: &FilePath) -> Named {
        let mut folders = self.cleaned(raw);
        let file = folders.pop().unwrap_or_else(|| clean("", self.rules));
        let folder = folders.into_iter().fold(self.root, |parent, name| self.enter(parent, name));
        let name = self.take(folder, file);
        Named { path: self.path_in(folder, &name), folder }
    }

    /// The name that a file has until it is whole, where it cannot be the usual one. To be asked after every file
    /// was added, for final names go first.
    pub(super) fn part(&mut self, named: &Named) -> Option<Box<str>> {
        let name = named.path.rsplit('/').next().unwrap_or(&named.path);
        let usual = part_name(name);
        let part = self.take(named.folder, usual.clone());
        (part != usual).then(|| part.into())
    }

    /// The path of a folder of the torrent, if there is one that `raw` stands for.
    pub(super) fn folder(&self, raw: &FilePath) -> Option<Box<str>> {
        let step = |parent, name: String| self.known.get(&(parent, key(&name, self.rules))).copied();
        let folder = self.cleaned(raw).into_iter().try_fold(self.root, step)?;
        let (parent, name) = &self.folders[folder as usize];
        Some(self.path_in(*parent, name))
    }

    /// The components, cleaned. If they are too long together, one folder with their hash stands for all in the middle.
    fn cleaned(&self, raw: &FilePath) -> Vec<String> {
        let mut path: Vec<_> = raw.components().map(|component| clean(component, self.rules)).collect();
        let len: usize = path.iter().map(|component| component.len() + 1).sum();
        if len > self.rules.max_path && path.len() > 1 {
            let folders = path.drain(..path.len() - 1).collect::<Vec<_>>().join("/");
            path.insert(0, format!("_{}", digest(&folders, 16)));
        }
        path
    }

    /// The folder that `name` stands for in `parent`.
    fn enter(&mut self, parent: Folder, name: String) -> Folder {
        let place = (parent, key(&name, self.rules));
        if let Some(folder) = self.known.get(&place) {
            return *folder;
        }
        let folder = self.folders.len() as Folder;
        let name = self.take(parent, name);
        self.folders.push((parent, name.into()));
        self.known.insert(place, folder);
        folder
    }

    /// Takes `name` in `folder`, or the first numbered name that is free. The numbers of a name are tried once in
    /// all, so that a million equal names take no longer than a million others.
    fn take(&mut self, folder: Folder, name: String) -> String {
        let place = (folder, key(&name, self.rules));
        if self.taken.insert(place.clone()) {
            return name;
        }
        let next = self.next_number.entry(place).or_insert(1);
        loop {
            let other = numbered(&name, *next);
            *next += 1;
            if self.taken.insert((folder, key(&other, self.rules))) {
                return other;
            }
        }
    }

    fn path_in(&self, folder: Folder, name: &str) -> Box<str> {
        let mut components = vec![name];
        let mut at = folder;
        while at != 0 {
            let (parent, name) = &self.folders[at as usize];
            components.push(name);
            at = *parent;
        }
        components.reverse();
        components.join("/").into()
    }
}
