//! A file of swarms is read without a panic whatever it holds, and what is read from a block is written and read again.

use std::time::Duration;

use samara_proto::swarms::Saved;
use samara_proto::swarms::file::{FRAME_LEN, Frame, HEADER_LEN, Writer, read_header};

/// Runs one input: a file, of which the first block's checksum is put right, for no fuzzer finds it.
pub fn run(data: &[u8]) {
    if let Some(header) = data.first_chunk::<HEADER_LEN>() {
        let _ = read_header(header);
    }
    if let Some(frame) = data.first_chunk::<FRAME_LEN>() {
        let _ = Frame::read(frame);
    }
    let Some(swarms) = content(data) else { return };
    let file = write(&swarms);
    let frames = file.get(HEADER_LEN..).unwrap_or_default();
    let Some(frame) = frames.first_chunk::<FRAME_LEN>().and_then(|f| Frame::read(f).expect("our own")) else {
        return assert!(swarms.iter().all(|swarm| swarm.peers.is_empty()));
    };
    let mut again = Vec::new();
    let block = &frames[FRAME_LEN..FRAME_LEN + frame.len];
    frame.swarms(block, Duration::ZERO, |swarm| again.push(swarm.clone())).expect("our own");
    let kept: Vec<_> = swarms.into_iter().filter(|swarm| !swarm.peers.is_empty()).collect();
    assert_eq!(again, kept);
}

/// What a block of these bytes says, if it is whole.
fn content(data: &[u8]) -> Option<Vec<Saved>> {
    let frame = Frame::of(data);
    let mut swarms = Vec::new();
    frame.swarms(data, Duration::ZERO, |swarm| swarms.push(swarm.clone())).ok()?;
    // More than one block would be more than this target looks at.
    (data.len() < 10_000).then_some(swarms)
}

fn write(swarms: &[Saved]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(7, &mut out);
    swarms.iter().for_each(|swarm| writer.push(swarm, &mut out));
    writer.finish(&mut out);
    assert_eq!(read_header(out.first_chunk().expect("a header")), Ok(7));
    out
}
