//! Replays the committed fuzz corpora: every input that ever mattered, on the stable compiler, in every run of the
//! tests. The bodies are those of the fuzz targets (fuzz/src).

#[path = "../../../fuzz/src/lib.rs"]
pub mod targets;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

fn fuzz_dir(sub: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(sub)
}

fn names_in(dir: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(dir)?.map(|e| Ok(e?.file_name().to_string_lossy().into_owned()));
    let mut names = entries.collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Says which input it was when a body panics.
struct Running(PathBuf);

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("while running {}", self.0.display());
        }
    }
}

#[test]
fn every_input_of_every_corpus_runs() -> io::Result<()> {
    for (name, run) in targets::TARGETS {
        let dir = fuzz_dir("corpus").join(name);
        let inputs = names_in(&dir)?;
        assert!(!inputs.is_empty(), "{} holds no input", dir.display());
        for input in inputs {
            let running = Running(dir.join(input));
            run(&fs::read(&running.0)?);
        }
        run(&[]);
    }
    Ok(())
}

#[test]
fn every_target_is_replayed_here() -> io::Result<()> {
    let listed: Vec<_> = targets::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let files = names_in(&fuzz_dir("fuzz_targets"))?;
    assert_eq!(listed, files.iter().map(|f| f.trim_end_matches(".rs").to_owned()).collect::<Vec<_>>());
    assert_eq!(listed, names_in(&fuzz_dir("corpus"))?);
    Ok(())
}
