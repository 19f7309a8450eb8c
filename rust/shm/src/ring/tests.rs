//! What a ring does in one thread, and what it makes of garbage. Seeds are constants; a failure names
//! its case.

use std::collections::VecDeque;

use super::*;

/// Splitmix64: small, seeded, good enough to scatter bytes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// Messages, or cases: Miri takes a thousand times as long for each.
const MANY: usize = if cfg!(miri) { 200 } else { 20_000 };

#[test]
fn messages_of_all_sizes_come_back_whole_and_in_order() {
    let mut random = Random(1);
    let (mut writer, mut reader) = pair(256);
    let mut expected = VecDeque::new();
    let mut pending: Option<Vec<u8>> = None;
    let mut got = Vec::new();
    let mut seen = 0;
    while seen < MANY {
        for _ in 0..random.below(4) {
            let next = pending.take();
            let message = next.unwrap_or_else(|| {
                let longest = if random.below(10) == 0 { 2000 } else { 60 };
                let len = random.below(longest);
                let message = random.bytes(len);
                expected.push_back(message.clone());
                message
            });
            if writer.push(&message) == Push::Full {
                pending = Some(message);
                break;
            }
        }
        for _ in 0..random.below(4) {
            if reader.pop(&mut got).unwrap() {
                assert_eq!(Some(&got), expected.pop_front().as_ref(), "message {seen}");
                seen += 1;
            }
        }
    }
}

#[test]
fn a_message_longer_than_the_ring_leaves_as_room_comes() {
    let (mut writer, mut reader) = pair(64);
    let message: Vec<u8> = (0..=255).collect();
    let mut got = Vec::new();
    let mut pushes = 1;
    while writer.push(&message) == Push::Full {
        assert!(writer.is_amid_message());
        assert!(!reader.pop(&mut got).unwrap());
        pushes += 1;
    }
    assert!(pushes > 4);
    assert!(reader.pop(&mut got).unwrap());
    assert_eq!(got, message);
    assert!(writer.is_empty() && reader.is_empty());
}

#[test]
fn a_writer_without_room_is_announced_until_half_of_the_ring_is_free() {
    let (mut writer, mut reader) = pair(128);
    let mut pushed = 0;
    while writer.push(&[0; 8]) == Push::Done {
        pushed += 1;
    }
    assert_eq!(pushed, 8);
    assert!(writer.is_half_full());
    let mut got = Vec::new();
    for left in (0..pushed).rev() {
        assert!(reader.pop(&mut got).unwrap());
        assert_eq!(reader.take_stalled(), left == pushed / 2, "{left} records left");
    }
    assert!(writer.is_empty() && !writer.is_half_full());
}

/// Pops until the ring is empty or corrupt; returns how many bytes came out.
fn drain(reader: &mut RingReader, case: usize) -> (usize, bool) {
    let capacity = reader.lane.capacity();
    let (mut got, mut bytes) = (Vec::new(), 0);
    for _ in 0..=capacity / 8 {
        match reader.pop(&mut got) {
            Ok(true) => bytes += got.len(),
            Ok(false) => return (bytes, false),
            Err(corrupt) => {
                assert_eq!(reader.pop(&mut got), Err(corrupt), "case {case}: not for good");
                assert!(got.is_empty() && reader.is_empty());
                return (bytes, true);
            }
        }
    }
    panic!("case {case}: more messages than the ring can hold");
}

#[test]
fn a_reader_of_garbage_ends_and_returns_no_more_than_was_there() {
    let mut random = Random(2);
    let mut corrupt = 0;
    for case in 0..MANY {
        let capacity = 64 << random.below(4);
        let (mut writer, mut reader) = pair(capacity);
        for _ in 0..random.below(12) {
            let len = random.below(capacity / 2);
            let message = random.bytes(len);
            if writer.push(&message) == Push::Full {
                break;
            }
        }
        let lane = &reader.lane;
        let at = random.below(capacity) as u64 & !7;
        let tail = writer.tail;
        match random.below(4) {
            // Noise everywhere.
            0 => lane.copy_in(0, &random.bytes(capacity)),
            // One bit of one word.
            1 => lane.copy_in(at, &(lane.word(at) ^ 1 << random.below(64)).to_ne_bytes()),
            // A header that looks right.
            2 => {
                let first = FIRST * random.below(2) as u64;
                let header = MARK | first | (LAST * random.below(2) as u64);
                lane.copy_in(
                    at,
                    &(header | random.next() >> random.below(64) & LENGTH).to_ne_bytes(),
                );
            }
            // A tail that was never published.
            _ => {
                let wrong = random.next() >> random.below(64);
                lane.words().tail.0.store(tail.wrapping_add(wrong), Ordering::Release);
            }
        }
        let (bytes, ended_corrupt) = drain(&mut reader, case);
        assert!(bytes <= capacity, "case {case}: {bytes} B out of a ring of {capacity} B");
        corrupt += usize::from(ended_corrupt);
    }
    assert!(corrupt > MANY / 4, "the cases are too tame: only {corrupt} were corrupt");
}

#[test]
fn a_header_that_promises_more_than_was_published_is_corrupt() {
    for header in [
        MARK | FIRST | LAST | LENGTH,
        MARK | FIRST | LAST | 9,
        MARK | FIRST,
        MARK | LAST | 8,
        MARK,
        FIRST | LAST,
        0,
        u64::MAX,
    ] {
        let (mut writer, mut reader) = pair(64);
        assert_eq!(writer.push(&[0; 8]), Push::Done);
        reader.lane.copy_in(0, &header.to_ne_bytes());
        let mut got = Vec::new();
        assert_eq!(reader.pop(&mut got), Err(Corrupt::Header { header, head: 0 }));
        assert!(got.capacity() == 0 && reader.partial.capacity() == 0);
    }
}

#[test]
fn a_writer_that_reads_a_wrong_head_neither_panics_nor_hangs() {
    let mut random = Random(3);
    for _ in 0..MANY / 4 {
        let (mut writer, reader) = pair(64 << random.below(4));
        for _ in 0..20 {
            let wrong = random.next() >> random.below(64);
            reader.lane.words().reader.0.head.store(wrong, Ordering::Release);
            let message = vec![0; random.below(300)];
            while writer.push(&message) == Push::Full {
                let _ = writer.is_half_full();
                let tail = writer.tail;
                let head = tail.wrapping_sub(random.below(9) as u64 * 8);
                reader.lane.words().reader.0.head.store(head, Ordering::Release);
            }
        }
    }
}

#[test]
fn only_what_the_node_says_may_be_of_any_length() {
    let message = vec![7; 1000];
    for is_of_node in [false, true] {
        let (mut writer, mut reader) = pair(64);
        reader.longest = 999;
        if is_of_node {
            reader = reader.of_node();
        }
        let mut got = Vec::new();
        let mut popped = Ok(false);
        while popped == Ok(false) {
            let _ = writer.push(&message);
            popped = reader.pop(&mut got);
        }
        assert_eq!(popped, if is_of_node { Ok(true) } else { Err(Corrupt::TooLong) });
        assert_eq!(got.len(), if is_of_node { 1000 } else { 0 });
    }
}

#[test]
fn what_a_long_message_took_goes() {
    let (mut writer, mut reader) = pair(1 << 22);
    let mut got = Vec::new();
    assert_eq!(writer.push(&vec![7; 2 << 20]), Push::Done);
    assert_eq!(reader.pop(&mut got), Ok(true));
    assert_eq!(got.len(), 2 << 20);
    assert_eq!(reader.pop(&mut got), Ok(false));
    assert!(got.capacity() <= KEPT);
}
