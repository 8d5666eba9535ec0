//! Bytes ↔ pieces ↔ blocks ↔ files.

/// Where every byte of a torrent lies.
#[derive(Clone, Debug)]
pub struct Layout {}
