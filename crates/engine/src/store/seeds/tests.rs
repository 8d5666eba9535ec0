use samara_proto::ids::InfoHashV1;

use super::super::tests::Temp;
use super::*;

fn key(n: u8) -> SeedKey {
    SeedKey::new(&InfoHashes::V1(InfoHashV1([n; 20])), Path::new("folder"))
}

fn stamps(times: &[i64]) -> Vec<Option<Stamp>> {
    let stamp = |&mtime| (mtime != 0).then_some(Stamp { len: 10, mtime, whole: true });
    times.iter().map(stamp).collect()
}

/// Three seeds, of one, three and no files.
fn some() -> Vec<(SeedKey, Vec<i64>)> {
    vec![(key(1), vec![-7]), (key(2), vec![1, i64::MAX, 3]), (key(3), vec![])]
}

fn noted(path: &Path) -> Seeds {
    let seeds = Seeds::new(path);
    some().iter().for_each(|(key, times)| seeds.note(*key, &stamps(times)));
    seeds.save();
    seeds
}

#[test]
fn what_was_noted_is_known_at_once_and_after_a_restart() {
    let temp = Temp::new("seeds");
    let seeds = Seeds::new(&temp.0);
    assert_eq!(seeds.times(&key(1)), None);
    seeds.note(key(1), &stamps(&[5]));
    assert_eq!(seeds.times(&key(1)), Some(vec![5]), "not saved yet");
    assert_eq!(noted(&temp.0).times(&key(1)), Some(vec![-7]), "another process");
    seeds.note(key(9), &stamps(&[9, 0, 9]));
    seeds.finish();
    for again in [seeds, Seeds::new(&temp.0)] {
        assert_eq!(again.times(&key(1)), Some(vec![5]), "who saves last is right");
        assert_eq!(again.times(&key(2)), Some(vec![1, i64::MAX, 3]));
        assert_eq!(again.times(&key(3)), Some(vec![]));
        assert_eq!(again.times(&key(9)), Some(vec![9, 9]), "what has no file has no time");
        assert_eq!(again.times(&key(4)), None);
    }
}

#[test]
fn only_files_that_did_not_change_are_believed() {
    let temp = Temp::new("seeds-trust");
    let layout = Layout::new(16_384, [(20_000, false), (0, false), (20_000, false)], false).unwrap();
    let file = |mtime| Some(Stamp { len: 20_000, mtime, whole: true });
    let seeds = Seeds::new(&temp.0);
    seeds.note(key(1), &[file(1), None, file(2)]);
    let trust = |now: &[Option<Stamp>]| {
        seeds.trusted(&key(1), &layout, now).map(|have| have.iter().map(|piece| piece.0).collect::<Vec<_>>())
    };
    assert_eq!(trust(&[file(1), None, file(2)]), Some(vec![0, 1, 2]));
    assert_eq!(
        trust(&[file(1), None, file(3)]),
        Some(vec![0]),
        "only the first piece is the first file's alone"
    );
    let short = Some(Stamp { len: 19_999, mtime: 2, whole: false });
    assert_eq!(trust(&[file(1), None, short]), Some(vec![0]));
    assert_eq!(trust(&[file(1), None, None]), None, "another number of files is another torrent");
    assert_eq!(trust(&[file(1), file(2), file(2)]), Some(vec![0]));
    assert!(seeds.trusted(&key(2), &layout, &[]).is_none());
}

#[test]
fn damage_anywhere_makes_nothing_up() {
    let temp = Temp::new("seeds-damage");
    let seeds = noted(&temp.0);
    let whole = fs::read(&seeds.path).unwrap();
    assert_eq!(Image::load(&seeds.path).end(), whole.len());
    let believed = |bytes: Vec<u8>| {
        let image = Image::parse(bytes);
        let right = |(key, times): &(SeedKey, Vec<i64>)| match image.times(key) {
            Some(found) => {
                assert_eq!(&found, times);
                true
            }
            None => false,
        };
        assert!(image.entries.len() <= 3);
        some().iter().filter(|seed| right(seed)).count()
    };
    assert_eq!(believed(whole.clone()), 3);
    for at in 0..whole.len() {
        assert!(believed(whole[..at].to_vec()) < 3, "cut at {at}");
        for bit in [1, 0x80] {
            let mut flipped = whole.clone();
            flipped[at] ^= bit;
            assert!(believed(flipped) < 3, "flipped at {at}");
        }
    }
    assert_eq!(believed(Vec::new()), 0);
    // What is damaged is replaced by what is believed of it and what is new.
    fs::write(&seeds.path, &whole[..whole.len() - 1]).unwrap();
    seeds.note(key(3), &[]);
    seeds.save();
    assert_eq!(fs::read(&seeds.path).unwrap(), whole);
}

#[test]
fn a_crash_while_saving_leaves_the_old_or_the_new() {
    let temp = Temp::new("seeds-crash");
    let seeds = noted(&temp.0);
    let whole = fs::read(&seeds.path).unwrap();
    // It broke off before the rename: what was written beside counts for nothing, whole or not.
    for (time, left) in (1..).zip([&whole[..40], b"", b"garbage"]) {
        fs::write(seeds.path.with_extension("new"), left).unwrap();
        let again = Seeds::new(&temp.0);
        assert_eq!(again.times(&key(1)), Some(vec![-7]));
        again.note(key(5), &stamps(&[time]));
        again.save();
        assert_eq!(Seeds::new(&temp.0).times(&key(5)), Some(vec![time]));
        assert!(!seeds.path.with_extension("new").exists());
    }
}

#[test]
fn many_writers_lose_nothing() {
    let temp = Temp::new("seeds-many");
    // Each has a descriptor of its own to lock, as processes have.
    std::thread::scope(|scope| {
        for writer in 0..8u8 {
            let seeds = Seeds::new(&temp.0);
            scope.spawn(move || {
                for n in 0..16 {
                    seeds.note(key(writer * 16 + n), &stamps(&[n.into(), 1]));
                    seeds.save();
                }
            });
        }
    });
    let all = Seeds::new(&temp.0);
    assert!((0..128).all(|n| all.times(&key(n)).is_some()));
    assert_eq!(all.known().entries.len(), 128);
}

#[test]
fn what_changes_nothing_writes_nothing() {
    let temp = Temp::new("seeds-same");
    let seeds = noted(&temp.0);
    let before = fs::metadata(&seeds.path).unwrap();
    noted(&temp.0);
    #[cfg(unix)]
    assert_eq!(
        std::os::unix::fs::MetadataExt::ino(&before),
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(&seeds.path).unwrap())
    );
    assert_eq!(before.modified().unwrap(), fs::metadata(&seeds.path).unwrap().modified().unwrap());
}
