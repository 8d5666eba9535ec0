//! The borrowing reader agrees with a naive one that builds a tree, and the writer gives back what was read.

use samara_proto::bencode::{DictWriter, Limits, ListWriter, Value, parse, parse_prefix, write_dict};

const LIMITS: Limits = Limits { len: 1 << 20, depth: 8, items: usize::MAX };

/// What a naive reader sees.
#[derive(Debug, PartialEq)]
enum Tree {
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Dict(Vec<(Vec<u8>, Self)>),
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut rest = data;
    let model = read(&mut rest, LIMITS.depth);
    let ours = parse_prefix(data, LIMITS);
    assert_eq!(ours.is_ok(), model.is_some(), "only one of the readers accepts it: {ours:?}");
    assert_eq!(parse(data, LIMITS).is_ok(), model.is_some() && rest.is_empty());
    if let (Ok((value, after)), Some(tree)) = (ours, model) {
        assert_eq!(after, rest);
        assert_eq!([value.raw(), after].concat(), data);
        assert_eq!(view(value), tree);
        round_trip(&tree);
    }
}

fn view(value: Value<'_>) -> Tree {
    if let Some(n) = value.as_int() {
        return Tree::Int(n);
    }
    if let Some(bytes) = value.as_bytes() {
        return Tree::Bytes(bytes.to_vec());
    }
    if let Some(list) = value.as_list() {
        return Tree::List(list.iter().map(view).collect());
    }
    let dict = value.as_dict().expect("a value is of one of four kinds");
    Tree::Dict(dict.iter().map(|(k, v)| (k.to_vec(), view(v))).collect())
}

/// Writing sorts; reading what was written gives the same tree with its keys sorted; writing that changes nothing.
fn round_trip(tree: &Tree) {
    let once = written(tree);
    let value =
        parse(&once, Limits { depth: LIMITS.depth + 1, ..LIMITS }).expect("what is written can be read");
    let back = value.as_dict().and_then(|d| d.get("v")).map(view).expect("the entry that was written");
    assert_eq!(back, sorted(tree));
    assert_eq!(written(&back), once);
}

fn written(tree: &Tree) -> Vec<u8> {
    let mut out = Vec::new();
    write_dict(&mut out, |d| put_entry(d, b"v", tree));
    out
}

fn put_entry(d: &mut DictWriter<'_>, key: &[u8], tree: &Tree) {
    match tree {
        Tree::Int(n) => d.int(key, *n),
        Tree::Bytes(b) => d.bytes(key, b),
        Tree::List(items) => d.list(key, |l| items.iter().for_each(|t| put_item(l, t))),
        Tree::Dict(entries) => d.dict(key, |inner| entries.iter().for_each(|(k, t)| put_entry(inner, k, t))),
    }
}

fn put_item(l: &mut ListWriter<'_>, tree: &Tree) {
    match tree {
        Tree::Int(n) => l.int(*n),
        Tree::Bytes(b) => l.bytes(b),
        Tree::List(items) => l.list(|inner| items.iter().for_each(|t| put_item(inner, t))),
        Tree::Dict(entries) => l.dict(|d| entries.iter().for_each(|(k, t)| put_entry(d, k, t))),
    }
}

fn sorted(tree: &Tree) -> Tree {
    match tree {
        Tree::Int(n) => Tree::Int(*n),
        Tree::Bytes(b) => Tree::Bytes(b.clone()),
        Tree::List(items) => Tree::List(items.iter().map(sorted).collect()),
        Tree::Dict(entries) => {
            let mut entries: Vec<_> = entries.iter().map(|(k, t)| (k.clone(), sorted(t))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Tree::Dict(entries)
        }
    }
}

/// Takes one value off the front, by recursion; `depth` is how many levels may still open.
fn read(data: &mut &[u8], depth: usize) -> Option<Tree> {
    match *data.first()? {
        b'i' => {
            let end = data.iter().position(|&b| b == b'e')?;
            let digits = std::str::from_utf8(&data[1..end]).ok()?;
            let n: i64 = digits.parse().ok()?;
            *data = &data[end + 1..];
            // The only accepted spelling is the one that a writer would choose.
            (n.to_string() == digits).then_some(Tree::Int(n))
        }
        b'l' => read_list(data, depth.checked_sub(1)?),
        b'd' => read_dict(data, depth.checked_sub(1)?),
        _ => read_bytes(data).map(Tree::Bytes),
    }
}

fn read_list(data: &mut &[u8], depth: usize) -> Option<Tree> {
    *data = &data[1..];
    let mut items = Vec::new();
    while *data.first()? != b'e' {
        items.push(read(data, depth)?);
    }
    *data = &data[1..];
    Some(Tree::List(items))
}

fn read_dict(data: &mut &[u8], depth: usize) -> Option<Tree> {
    *data = &data[1..];
    let mut entries: Vec<(Vec<u8>, Tree)> = Vec::new();
    let mut keys = std::collections::HashSet::new();
    while *data.first()? != b'e' {
        let key = read_bytes(data)?;
        let unique = keys.insert(key.clone());
        entries.push((key, read(data, depth)?));
        if !unique {
            return None;
        }
    }
    *data = &data[1..];
    Some(Tree::Dict(entries))
}

fn read_bytes(data: &mut &[u8]) -> Option<Vec<u8>> {
    let colon = data.iter().position(|&b| b == b':')?;
    let digits = std::str::from_utf8(&data[..colon]).ok()?;
    let len: usize = digits.parse().ok()?;
    if len.to_string() != digits {
        return None;
    }
    let content = data.get(colon + 1..)?.get(..len)?.to_vec();
    *data = &data[colon + 1 + len..];
    Some(content)
}
