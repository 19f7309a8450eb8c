//! The machine's bytes: the data segment, the spill file, and the disk between them, which is slow,
//! reads in any order, does all else in the order in which it was asked, and now and then fails.
//!
//! Invariant: what is being written does not change until it is written, and nothing is read from
//! where nothing was written: free space of both is overwritten with rubbish as soon as it is free.

use std::hash::{DefaultHasher, Hash, Hasher};

use skate_core::action::Piece;
use skate_core::event::Event;
use skate_core::id::ObjectId;
use skate_core::value::{Extent, Payload, Span, Trouble};

use super::world::World;

const RUBBISH: u8 = 0xEE;

/// Where payloads are.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) segment: Vec<u8>,
    file: Vec<u8>,
}

impl Memory {
    pub(crate) fn new(capacity: u64) -> Self {
        Self { segment: vec![0; capacity as usize], file: Vec::new() }
    }

    /// The bytes of a payload.
    pub(crate) fn bytes<'a>(&'a self, payload: &'a Payload) -> &'a [u8] {
        match payload {
            Payload::Inline(bytes) => bytes,
            Payload::Block(span) => self.at(*span),
            Payload::Spilled(extent) => {
                let bytes = self.in_file(*extent);
                assert_eq!(checksum(bytes), extent.checksum, "{extent:?} was overwritten");
                bytes
            }
        }
    }

    /// A client writes a value to its part of the file.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> Extent {
        let end = offset as usize + bytes.len();
        self.file.resize(self.file.len().max(end), RUBBISH);
        self.file[offset as usize..end].copy_from_slice(bytes);
        Extent { offset, len: bytes.len() as u64, checksum: checksum(bytes) }
    }

    fn at(&self, span: Span) -> &[u8] {
        &self.segment[span.offset as usize..span.end() as usize]
    }

    fn in_file(&self, extent: Extent) -> &[u8] {
        &self.file[extent.offset as usize..][..extent.len as usize]
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish() as u32
}

/// Something that the disk has been asked to do.
pub(crate) enum Io {
    Write { number: u64, pieces: Box<[Piece]>, before: Vec<Vec<u8>> },
    Read { object: ObjectId, extent: Extent, to: Span },
    Prepare { span: Span },
    Discard { span: Span },
}

impl World {
    pub(crate) fn ask_to_write(&mut self, number: u64, pieces: Box<[Piece]>) {
        let before = pieces.iter().map(|piece| self.shared.memory.at(piece.from).to_vec());
        let before = before.collect();
        self.disk.push(Io::Write { number, pieces, before });
    }

    pub(crate) fn ask_to_read(&mut self, object: ObjectId, extent: Extent, to: Span) {
        self.disk.push(Io::Read { object, extent, to });
    }

    /// That part of the file is free.
    fn discard(&mut self, span: Span) {
        let file = &mut self.shared.memory.file;
        let end = (span.end() as usize).min(file.len());
        let start = (span.offset as usize).min(end);
        file[start..end].fill(RUBBISH);
    }

    /// The disk has done one of the things that it was asked: a read, or else the first of the others.
    pub(crate) fn finish_io(&mut self) {
        let is_other = |io: &Io| !matches!(io, Io::Read { .. });
        let first = self.disk.iter().position(is_other);
        let reads = (0..self.disk.len()).filter(|place| !is_other(&self.disk[*place]));
        let places: Vec<usize> = reads.chain(first).collect();
        let place = self.shared.random.pick(&places);
        let event = match self.disk.remove(place) {
            Io::Write { number, pieces, before } => self.write(number, &pieces, &before),
            Io::Discard { span } => return self.discard(span),
            Io::Prepare { span } if self.shared.random.chance(self.setup.bad_writes) => {
                Event::Prepared(span.offset, Err(Trouble::Full("no space left on device".into())))
            }
            Io::Prepare { span } => Event::Prepared(span.offset, Ok(())),
            Io::Read { object, extent, .. } if self.shared.random.chance(self.setup.bad_reads) => {
                self.model.lost(object);
                self.shared.lost.insert(object);
                let len = extent.len;
                Event::Read(object, Err(Trouble::Truncated { found: 0, len }))
            }
            Io::Read { object, extent, to } => {
                let payload = Payload::Spilled(extent);
                let bytes = self.shared.memory.bytes(&payload).to_vec();
                self.shared.memory.segment[to.offset as usize..to.end() as usize]
                    .copy_from_slice(&bytes);
                Event::Read(object, Ok(()))
            }
        };
        self.event(event);
        self.carry_out();
    }

    fn write(&mut self, number: u64, pieces: &[Piece], before: &[Vec<u8>]) -> Event {
        let mut trouble = None;
        let mut count = pieces.len();
        if self.shared.random.chance(self.setup.bad_writes) {
            count = self.shared.random.below(pieces.len() as u64) as usize;
            trouble = Some(if self.shared.random.chance(50) {
                Trouble::Full("no space left on device".into())
            } else {
                Trouble::System("input/output error".into())
            });
        }
        let mut checksums = Vec::new();
        for (Piece { from, to }, before) in pieces.iter().zip(before).take(count) {
            let memory = &mut self.shared.memory;
            assert_eq!(memory.at(*from), before, "{from:?} changed while it was written");
            let end = (to + from.len) as usize;
            memory.file.resize(memory.file.len().max(end), RUBBISH);
            memory.file[*to as usize..end].copy_from_slice(before);
            checksums.push(checksum(before));
        }
        Event::Written(number, checksums.into(), trouble)
    }
}
