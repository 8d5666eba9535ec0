//! A whole `.torrent` file: the info dictionary, and what stands around it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::info::text;
use super::{FileEntry, Info, LayerProblem, MetainfoError};
use crate::bencode::{self, Dict, DictWriter, Limits, Value};
use crate::ids::Sha256Hash;
use crate::merkle;

/// Piece layers by the root they belong to: concatenated 32-byte hashes (BEP 52).
pub type PieceLayers = BTreeMap<Sha256Hash, Arc<[u8]>>;

/// A `.torrent` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metainfo {
    /// The info dictionary.
    pub info: Arc<Info>,
    /// Tiers of tracker URLs (BEP 12); one tier of one for a plain `announce`.
    pub trackers: Vec<Vec<String>>,
    /// URLs of web seeds (BEP 19, `url-list`).
    pub web_seeds: Vec<String>,
    /// DHT nodes to begin with (BEP 5), host and port.
    pub nodes: Vec<(String, u16)>,
    /// Free text.
    pub comment: Option<String>,
    /// The program that made it.
    pub created_by: Option<String>,
    /// When it was made, in seconds since 1970.
    pub creation_date: Option<i64>,
    /// The piece layer of each v2 file that is larger than a piece. [`Metainfo::parse`] lets none be missing.
    pub piece_layers: PieceLayers,
}

impl Metainfo {
    /// An `info` with nothing around it.
    pub fn new(info: Arc<Info>, piece_layers: PieceLayers) -> Self {
        Self {
            info,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            nodes: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
            piece_layers,
        }
    }

    /// Reads a `.torrent` file and proves its piece layers by their roots.
    ///
    /// # Errors
    /// Says which rule of the [module](super) it breaks. Optional fields never make an error.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetainfoError> {
        let value = bencode::parse(bytes, Limits::METAINFO)?;
        let expected = "a dictionary";
        let dict = value.as_dict().ok_or(MetainfoError::WrongType { key: "the torrent file", expected })?;
        let fields = Fields::of(dict);
        let info = fields.info.ok_or(MetainfoError::Missing("info"))?;
        let info =
            Info::from_dict(info.as_dict().ok_or(MetainfoError::WrongType { key: "info", expected })?)?;
        Ok(Self {
            trackers: trackers(fields.announce, fields.announce_list),
            web_seeds: urls(fields.url_list),
            nodes: nodes(fields.nodes),
            comment: fields
                .comment_utf8
                .and_then(Value::as_str)
                .map(str::to_owned)
                .or_else(|| text(fields.comment)),
            created_by: text(fields.created_by),
            creation_date: fields.creation_date.and_then(Value::as_int),
            piece_layers: layers(&info, fields.piece_layers.and_then(Value::as_dict))?,
            info: Arc::new(info),
        })
    }

    /// Whether no piece layer is missing, so that [`Metainfo::parse`] takes what is written.
    pub fn has_layers(&self) -> bool {
        !self.info.files().iter().any(|file| self.lacks_layer(file))
    }

    /// Whether one of its files needs a piece layer that is missing.
    pub fn lacks_layer(&self, file: &FileEntry) -> bool {
        let long = file.length > u64::from(self.info.piece_length());
        long && file.pieces_root.is_some_and(|root| !self.piece_layers.contains_key(&root))
    }

    /// Writes a `.torrent` file: canonical but for the info dictionary, which stays as it is.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        bencode::write_dict(&mut out, |d| self.write(d));
        out
    }

    fn write(&self, d: &mut DictWriter<'_>) {
        self.write_trackers(d);
        self.comment.iter().for_each(|text| d.bytes("comment", text));
        self.created_by.iter().for_each(|text| d.bytes("created by", text));
        self.creation_date.iter().for_each(|date| d.int("creation date", *date));
        d.value("info", self.info.value());
        if !self.nodes.is_empty() {
            d.list("nodes", |l| {
                self.nodes.iter().for_each(|(host, port)| {
                    l.list(|node| {
                        node.bytes(host);
                        node.int((*port).into());
                    });
                });
            });
        }
        if self.info.format().has_v2() {
            d.dict("piece layers", |d| {
                self.piece_layers.iter().for_each(|(root, layer)| d.bytes(root.0, layer))
            });
        }
        if !self.web_seeds.is_empty() {
            d.list("url-list", |l| self.web_seeds.iter().for_each(|url| l.bytes(url)));
        }
    }

    fn write_trackers(&self, d: &mut DictWriter<'_>) {
        if let Some(first) = self.trackers.iter().flatten().next() {
            d.bytes("announce", first);
        }
        if self.trackers.iter().flatten().count() > 1 {
            d.list("announce-list", |l| {
                self.trackers.iter().for_each(|tier| l.list(|l| tier.iter().for_each(|url| l.bytes(url))));
            });
        }
    }
}

/// The fields of a `.torrent` file as they stand there.
#[derive(Default)]
struct Fields<'a> {
    announce: Option<Value<'a>>,
    announce_list: Option<Value<'a>>,
    comment: Option<Value<'a>>,
    comment_utf8: Option<Value<'a>>,
    created_by: Option<Value<'a>>,
    creation_date: Option<Value<'a>>,
    info: Option<Value<'a>>,
    nodes: Option<Value<'a>>,
    piece_layers: Option<Value<'a>>,
    url_list: Option<Value<'a>>,
}

impl<'a> Fields<'a> {
    fn of(dict: Dict<'a>) -> Self {
        let mut fields = Self::default();
        for (key, value) in dict {
            let field = match key {
                b"announce" => &mut fields.announce,
                b"announce-list" => &mut fields.announce_list,
                b"comment" => &mut fields.comment,
                b"comment.utf-8" => &mut fields.comment_utf8,
                b"created by" => &mut fields.created_by,
                b"creation date" => &mut fields.creation_date,
                b"info" => &mut fields.info,
                b"nodes" => &mut fields.nodes,
                b"piece layers" => &mut fields.piece_layers,
                b"url-list" => &mut fields.url_list,
                _ => continue,
            };
            *field = Some(value);
        }
        fields
    }
}

/// The URLs of a string, or of a list of strings; nothing for what is neither.
fn urls(value: Option<Value<'_>>) -> Vec<String> {
    let Some(value) = value else { return Vec::new() };
    let one = value.as_str().into_iter();
    let many = value.as_list().into_iter().flatten().filter_map(Value::as_str);
    one.chain(many).map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned).collect()
}

/// `announce-list` counts if it has any tracker, else `announce` (BEP 12). A tier that is a string by itself, as some
/// writers have it, is a tier of one.
fn trackers(announce: Option<Value<'_>>, list: Option<Value<'_>>) -> Vec<Vec<String>> {
    let tiers = list.and_then(Value::as_list).into_iter().flatten();
    let tiers: Vec<_> = tiers.map(|tier| urls(Some(tier))).filter(|tier| !tier.is_empty()).collect();
    if !tiers.is_empty() {
        return tiers;
    }
    Some(urls(announce)).into_iter().filter(|tier| !tier.is_empty()).collect()
}

fn nodes(value: Option<Value<'_>>) -> Vec<(String, u16)> {
    let node = |value: Value<'_>| {
        let mut pair = value.as_list()?.iter();
        let (host, port) = (pair.next()?.as_str()?, pair.next()?.as_int()?);
        let port = u16::try_from(port).ok().filter(|port| *port != 0)?;
        (!host.is_empty()).then(|| (host.to_owned(), port))
    };
    value.and_then(Value::as_list).into_iter().flatten().filter_map(node).collect()
}

fn layers(info: &Info, found: Option<Dict<'_>>) -> Result<PieceLayers, MetainfoError> {
    let found = found.into_iter().flatten().filter_map(|(root, layer)| Some((root, layer.as_bytes()?)));
    proven_layers(info, &found.collect())
}

/// The layers that the info dictionary asks for, each proven by its root once; others are dropped.
pub(super) fn proven_layers(
    info: &Info,
    found: &BTreeMap<&[u8], &[u8]>,
) -> Result<PieceLayers, MetainfoError> {
    let mut proven = PieceLayers::new();
    for file in info.files().iter().filter(|f| f.length > u64::from(info.piece_length())) {
        let Some(root) = file.pieces_root else { continue };
        let fail = |problem| MetainfoError::Layer { root, problem };
        let layer = *found.get(&root.0[..]).ok_or(fail(LayerProblem::Missing))?;
        let expected = file.length.div_ceil(info.piece_length().into()) * Sha256Hash::LEN as u64;
        if layer.len() as u64 != expected {
            return Err(fail(LayerProblem::Length { expected, got: layer.len() }));
        }
        if let Entry::Vacant(slot) = proven.entry(root) {
            if merkle::layer_root(layer, info.piece_length()) != Some(root) {
                return Err(fail(LayerProblem::Root));
            }
            slot.insert(layer.into());
        }
    }
    Ok(proven)
}
