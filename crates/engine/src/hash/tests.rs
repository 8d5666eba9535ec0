use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use proptest::prelude::*;
use samara_proto::ids::BLOCK_LEN;
use samara_proto::metainfo::{Attr, FilePath, InfoBuilder, NewFile};
use samara_proto::rng::Rng;
use sha1::{Digest, Sha1};

use super::batch::Hasher;
use super::*;

/// A folder that goes away with it.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("samara-hash-{}-{n}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Files on disk, and what they contain.
struct World {
    dir: Dir,
    layout: Layout,
    want: Want,
    paths: Vec<Option<PathBuf>>,
    contents: Vec<Vec<u8>>,
}

impl World {
    /// Files given as (length, pad).
    fn new(piece_length: u32, files: &[(usize, bool)], format: Format, seed: u64) -> Self {
        let dir = Dir::new();
        let mut rng = Rng::new(seed);
        let (mut paths, mut contents) = (Vec::new(), Vec::new());
        for (i, &(len, pad)) in files.iter().enumerate() {
            let mut bytes = vec![0; len];
            let path = dir.0.join(i.to_string());
            if !pad {
                rng.fill(&mut bytes);
                fs::write(&path, &bytes).unwrap();
            }
            paths.push((!pad).then_some(path));
            contents.push(bytes);
        }
        let lens = files.iter().map(|&(len, pad)| (len as u64, pad));
        let layout = Layout::new(piece_length, lens, format == Format::V2).unwrap();
        Self { dir, layout, want: Want::of(format), paths, contents }
    }

    /// A hybrid: with a pad file after each file but the last.
    fn hybrid(piece_length: u32, files: &[usize], seed: u64) -> Self {
        let piece = piece_length as usize;
        let padded: Vec<_> =
            files.iter().flat_map(|&len| [(len, false), (len.next_multiple_of(piece) - len, true)]).collect();
        Self::new(piece_length, &padded[..padded.len().saturating_sub(1)], Format::Hybrid, seed)
    }

    fn path(&self, file: usize) -> &Path {
        self.paths[file].as_deref().unwrap()
    }

    fn with_job<T>(&self, threads: usize, run: impl FnOnce(&HashJob<'_>) -> T) -> T {
        let last = Mutex::new(0);
        let progress = |done| {
            let before = std::mem::replace(&mut *last.lock().unwrap(), done);
            assert!(done >= before && done <= self.layout.total_len());
        };
        let (paths, layout, want) = (&self.paths[..], &self.layout, self.want);
        run(&HashJob { paths, layout, want, threads, progress: &progress, cancel: &AtomicBool::new(false) })
    }

    fn hash(&self, threads: usize) -> Result<NewHashes, HashError> {
        self.with_job(threads, hash_files)
    }

    /// What `hash_files` shall give, from all bytes in one go.
    fn naive_v1(&self) -> Vec<u8> {
        let all = self.contents.concat();
        all.chunks(self.layout.piece_length() as usize)
            .flat_map(|piece| <[u8; 20]>::from(Sha1::digest(piece)))
            .collect()
    }

    fn naive_v2(&self) -> Vec<FileHashes> {
        let content =
            self.contents.iter().zip(&self.paths).filter(|(bytes, path)| path.is_some() && !bytes.is_empty());
        content.map(|(bytes, _)| file_hashes(bytes, self.layout.piece_length())).collect()
    }

    /// The hashes of each piece, from those of the whole.
    fn expected(&self) -> Vec<Expected> {
        let hashes = self.hash(1).unwrap();
        let v1: Option<Vec<_>> =
            hashes.v1.map(|v1| v1.chunks(20).map(|h| Sha1Hash::from_slice(h).unwrap()).collect());
        let v2: Option<Vec<_>> = hashes.v2.map(|v2| {
            v2.iter()
                .flat_map(|file| file.layer.chunks(32))
                .map(|h| Sha256Hash::from_slice(h).unwrap())
                .collect()
        });
        let at = |i: u32| Expected {
            v1: v1.as_ref().map(|v1| v1[i as usize]),
            v2: v2.as_ref().map(|v2| v2[i as usize]),
        };
        (0..self.layout.num_pieces()).map(at).collect()
    }

    fn check(&self, expected: &[Expected], threads: usize) -> CheckResult {
        let expected = |piece: PieceIndex| expected.get(piece.0 as usize).copied();
        self.with_job(threads, |job| check(job, &expected)).unwrap()
    }
}

fn file_hashes(bytes: &[u8], piece_length: u32) -> FileHashes {
    let leaves: Vec<_> = bytes.chunks(BLOCK_LEN as usize).map(merkle::leaf).collect();
    let pieces = leaves.chunks((piece_length / BLOCK_LEN) as usize);
    let roots = pieces.map(|piece| merkle::piece_root(piece, piece_length, bytes.len() as u64));
    let pieces_root = merkle::root_of(&leaves, 0, merkle::tree_height(bytes.len() as u64));
    FileHashes { pieces_root, layer: roots.flat_map(|root| root.0).collect() }
}

fn pieces(set: &Bitfield) -> Vec<u32> {
    set.iter().map(|piece| piece.0).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn v1_is_that_of_all_bytes_in_one_go(
        length in prop_oneof![Just(BLOCK_LEN), Just(BLOCK_LEN * 4), 1000..40_000u32, Just(100_032)],
        files in prop::collection::vec((prop_oneof![0..100usize, 0..200_000usize], prop::bool::weighted(0.2)), 0..8),
        threads in 1..4usize, seed: u64,
    ) {
        let world = World::new(length, &files, Format::V1, seed);
        let hashes = world.hash(threads).unwrap();
        prop_assert_eq!(hashes.v1, Some(world.naive_v1()));
        prop_assert!(hashes.v2.is_none());
    }

    #[test]
    fn v2_and_hybrid_are_those_of_all_bytes_in_one_go(
        log in 0..4u32, files in prop::collection::vec(prop_oneof![0..100usize, 0..200_000usize], 1..6),
        threads in 1..4usize, seed: u64,
    ) {
        let length = BLOCK_LEN << log;
        let hybrid = World::hybrid(length, &files, seed);
        let hashes = hybrid.hash(threads).unwrap();
        prop_assert_eq!(hashes.v1, Some(hybrid.naive_v1()));
        prop_assert_eq!(hashes.v2, Some(hybrid.naive_v2()));
        let files: Vec<_> = files.iter().map(|&len| (len, false)).collect();
        let v2 = World::new(length, &files, Format::V2, seed);
        let hashes = v2.hash(threads).unwrap();
        prop_assert_eq!(hashes.v2, Some(v2.naive_v2()));
        prop_assert!(hashes.v1.is_none());
    }
}

#[test]
fn long_pieces_go_through_the_buffer_in_parts() {
    // Eight pieces abreast, each longer than its share of the buffer; and one, longer than the whole buffer. How many
    // go abreast depends on how fast the disk is, so this goes past the threads.
    for (length, count) in [(192 << 10, 8), (192 << 10, 3), (2 << 20, 1)] {
        let world = World::hybrid(length, &[length as usize * count - 12_345, 70_000], 7);
        let (zeros, expected) = (OnceLock::new(), (world.naive_v1(), world.naive_v2().remove(0)));
        let pieces: Vec<_> = (0..count as u32).map(PieceIndex).collect();
        let done = world.with_job(1, |job| Hasher::new(job, &zeros).run(&pieces)).unwrap();
        for (piece, outcome) in done {
            let Outcome::Hashed(hashes) = outcome else { panic!("{piece} is missing") };
            let n = piece.0 as usize;
            assert_eq!(hashes.v1.unwrap().0, expected.0[n * 20..][..20]);
            assert_eq!(hashes.v2.unwrap().0, expected.1.layer[n * 32..][..32]);
        }
    }
}

#[test]
fn damage_is_found_where_it_is() {
    let len = 40 * BLOCK_LEN as usize + 5;
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let world = World::new(BLOCK_LEN, &[(len, false)], format, 3);
        let expected = world.expected();
        assert!(world.check(&expected, 2).have.is_full());
        let mut bytes = world.contents[0].clone();
        bytes[17 * BLOCK_LEN as usize + 99] ^= 1;
        bytes[len - 1] ^= 1;
        fs::write(world.path(0), &bytes).unwrap();
        let found = world.check(&expected, 2);
        let bad: Vec<_> = (0..41).filter(|n| !found.have.has(PieceIndex(*n))).collect();
        assert_eq!(bad, [17, 40], "{format}");
        assert_eq!(found.missing.count(), 0);
    }
}

#[test]
fn what_is_not_there_is_missing() {
    let piece = BLOCK_LEN as usize;
    let world =
        World::new(BLOCK_LEN, &[(3 * piece, false), (piece / 2, false), (3 * piece, false)], Format::V1, 4);
    let expected = world.expected();
    fs::remove_file(world.path(1)).unwrap();
    fs::write(world.path(0), &world.contents[0][..piece + 1]).unwrap();
    let found = world.check(&expected, 2);
    assert_eq!((pieces(&found.missing), pieces(&found.have)), (vec![1, 2, 3], vec![0, 4, 5, 6]));
    // A folder in a file's place, and a folder that is a file.
    fs::remove_file(world.path(2)).unwrap();
    fs::create_dir(world.path(2)).unwrap();
    assert_eq!(pieces(&world.check(&expected, 1).missing), [1, 2, 3, 4, 5, 6]);
    let inside = vec![Some(world.path(0).join("x")); 3];
    let lost = World { paths: inside, ..world };
    assert_eq!(pieces(&lost.check(&expected, 1).missing), [0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn only_what_is_asked_for_is_checked() {
    let world = World::new(BLOCK_LEN, &[(40 * BLOCK_LEN as usize, false)], Format::V2, 5);
    let all = world.expected();
    let some = |piece: PieceIndex| piece.0.is_multiple_of(3).then(|| all[piece.0 as usize]);
    let found = world.with_job(2, |job| check(job, &some)).unwrap();
    assert_eq!(pieces(&found.have), (0..40).step_by(3).collect::<Vec<_>>());
}

#[test]
fn a_torrent_is_not_made_of_files_that_are_not_there() {
    let world = World::new(BLOCK_LEN, &[(100, false), (BLOCK_LEN as usize, false)], Format::V1, 6);
    fs::write(world.path(1), b"short").unwrap();
    let err = world.hash(2).unwrap_err();
    assert!(
        matches!(&err, HashError::Read { path, source }
        if path == world.path(1) && source.kind() == io::ErrorKind::UnexpectedEof),
        "{err}"
    );
    fs::remove_file(world.path(1)).unwrap();
    let err = world.hash(2).unwrap_err();
    assert!(
        matches!(&err, HashError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound),
        "{err}"
    );
}

#[test]
fn cancelling_stops() {
    let world = World::new(BLOCK_LEN, &[(100 * BLOCK_LEN as usize, false)], Format::V1, 8);
    let (paths, layout, want) = (&world.paths[..], &world.layout, world.want);
    let cancel = AtomicBool::new(false);
    let progress = |_| cancel.store(true, Ordering::Relaxed);
    let job = HashJob { paths, layout, want, threads: 2, progress: &progress, cancel: &cancel };
    assert!(matches!(hash_files(&job), Err(HashError::Cancelled)));
}

#[test]
fn holes_are_zeros() {
    use std::io::{Seek, SeekFrom, Write};
    let piece = 4 * BLOCK_LEN as usize;
    for (format, len) in
        [(Format::V1, 40 * piece + 100), (Format::V2, 40 * piece + 100), (Format::Hybrid, 40 * piece)]
    {
        let mut world = World::new(piece as u32, &[(0, false)], format, 9);
        let mut file = fs::File::create(world.path(0)).unwrap();
        file.set_len(len as u64).unwrap();
        // Early in one piece, late in another.
        for at in [7 * piece + 5, 21 * piece - 9] {
            file.seek(SeekFrom::Start(at as u64)).unwrap();
            file.write_all(b"data").unwrap();
        }
        world.layout = Layout::new(piece as u32, [(len as u64, false)], format == Format::V2).unwrap();
        world.contents[0] = fs::read(world.path(0)).unwrap();
        let hashes = world.hash(2).unwrap();
        assert_eq!(hashes.v1, world.want.v1.then(|| world.naive_v1()));
        assert_eq!(hashes.v2, world.want.v2.then(|| world.naive_v2()));
    }
}

#[test]
fn nothing_at_all() {
    let world = World::new(BLOCK_LEN, &[(0, false)], Format::Hybrid, 10);
    let hashes = world.hash(2).unwrap();
    assert_eq!((hashes.v1, hashes.v2), (Some(vec![]), Some(vec![])));
    assert!(world.check(&[], 2).have.is_full());
    assert!(world.dir.0.exists());
}

#[test]
fn a_new_torrent_checks_out() {
    let files = [("a", 3 * BLOCK_LEN as usize), ("b", 0), ("c", 5), ("d", 10 * BLOCK_LEN as usize + 7)];
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let new = |(name, len): &(&str, usize)| NewFile {
            path: FilePath::new([name]),
            length: *len as u64,
            attr: Attr::default(),
            symlink: None,
        };
        let plan = InfoBuilder {
            name: "t".into(),
            files: files.iter().map(new).collect(),
            piece_length: 2 * BLOCK_LEN,
            format,
            private: false,
            source: None,
            single_file: false,
        }
        .plan()
        .unwrap();
        let lens: Vec<_> = plan.files().iter().map(|file| (file.length as usize, file.attr.pad)).collect();
        let world = World::new(plan.piece_length(), &lens, format, 11);
        let (info, layers) = plan.finish(world.hash(2).unwrap()).unwrap();
        assert_eq!(Layout::of(&info).unwrap().num_pieces(), info.num_pieces());
        let hashes = PieceHashes { info: &info, layers: &layers, layout: &world.layout };
        let found = world.with_job(2, |job| check(job, &|piece| hashes.get(piece))).unwrap();
        assert!(found.have.is_full() && found.have.len() == info.num_pieces(), "{format}");
        assert_eq!(hashes.get(PieceIndex(info.num_pieces())), None);
        // Without the layers only files of one piece can be checked, and v1 torrents.
        let bare = PieceHashes { layers: &PieceLayers::new(), ..hashes };
        let known = (0..info.num_pieces()).filter(|n| bare.get(PieceIndex(*n)).is_some()).count();
        assert_eq!(known as u32, if format == Format::V1 { info.num_pieces() } else { 1 });
    }
}
