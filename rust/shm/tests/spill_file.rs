//! What is read is what was written, or a named error; and nothing is left.

#![allow(clippy::unwrap_used, reason = "a test says what must work")]

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::{fstat, ftruncate};
use rustix::io::pwrite;
use skate_shm::spill_file::{ReadError, SpillFile, is_in_memory};

/// A directory on disk, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("skate-test-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn pseudo_random(len: usize, mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn pieces_side_by_side_and_apart_are_read_back() {
    let directory = Directory::new("pieces");
    let file = SpillFile::create(&directory.0).unwrap();
    let lens = [1, 64, 100, 5000, 100_000, 63, 65];
    let values: Vec<Vec<u8>> = (0..700).map(|k| pseudo_random(lens[k % 7], k as u64)).collect();
    let mut at = 0;
    let mut pieces = Vec::new();
    for (number, value) in values.iter().enumerate() {
        pieces.push((&value[..], at));
        at += value.len().next_multiple_of(64) as u64 + if number % 550 == 0 { 640 } else { 0 };
    }
    let (checksums, error) = file.write(&pieces);
    assert_eq!((checksums.len(), error), (values.len(), None));
    for ((value, at), checksum) in pieces.into_iter().zip(checksums) {
        let mut buffer = vec![0; value.len()];
        file.read(at, &mut buffer, checksum).unwrap();
        assert_eq!(buffer, value);
    }
}

#[test]
fn file_has_no_name_and_outlives_its_directory() {
    let directory = Directory::new("nameless");
    let file = SpillFile::create(&directory.0).unwrap();
    assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 0);
    assert_eq!(fstat(file.fd()).unwrap().st_nlink, 0);
    std::fs::remove_dir(&directory.0).unwrap();
    let (checksums, _) = file.write(&[(b"value", 0)]);
    let mut buffer = [0; 5];
    file.read(0, &mut buffer, checksums[0]).unwrap();
    assert_eq!(&buffer, b"value");
}

/// The checksum was taken of the caller's memory, which was then written: another thread that changed it
/// in between left a value that could not be read.
#[test]
fn value_whose_memory_changes_is_read_back_as_it_was_written() {
    let directory = Directory::new("changing");
    let file = SpillFile::create(&directory.0).unwrap();
    let len = (5 << 20) + 3;
    let mut taken = Vec::new();
    let mut append = file.append(64);
    append
        .push(len, |from, to| {
            assert_eq!(from, taken.len(), "each byte is taken once, in order");
            to.fill(taken.len() as u8 ^ 7);
            taken.extend_from_slice(to);
        })
        .unwrap();
    let checksum = append.finish().unwrap();
    let mut buffer = vec![0; len];
    file.read(64, &mut buffer, checksum).unwrap();
    assert!(buffer == taken);
}

#[test]
fn value_in_parts_is_read_back_as_one() {
    let directory = Directory::new("parts");
    let file = SpillFile::create(&directory.0).unwrap();
    let value = pseudo_random(100_000, 3);
    let mut append = file.append(640);
    for part in value.chunks(7).chain([&[][..]]) {
        append.push(part.len(), |from, to| to.copy_from_slice(&part[from..][..to.len()])).unwrap();
    }
    let checksum = append.finish().unwrap();
    let other = SpillFile::open(file.share().unwrap());
    let mut buffer = vec![0; value.len()];
    other.read(640, &mut buffer, checksum).unwrap();
    assert_eq!(buffer, value);
}

/// 500 files that were damaged somewhere, in one byte or by their length.
#[test]
fn damaged_file_is_never_read_as_a_value() {
    let directory = Directory::new("damaged");
    let file = SpillFile::create(&directory.0).unwrap();
    for seed in 0..500_u64 {
        let value = pseudo_random(1 + (seed as usize * 37) % 9000, seed);
        let (checksums, _) = file.write(&[(&value, 128)]);
        let byte = (seed as usize * 7919) % value.len();
        let mut buffer = vec![0; value.len()];
        if seed % 3 == 0 {
            ftruncate(file.fd(), 128 + byte as u64).unwrap();
            let error = file.read(128, &mut buffer, checksums[0]).unwrap_err();
            assert_eq!(error, ReadError::Short { found: byte as u64 });
        } else {
            let changed = value[byte] ^ (1 << (seed % 8));
            pwrite(file.fd().as_fd(), &[changed], 128 + byte as u64).unwrap();
            let error = file.read(128, &mut buffer, checksums[0]).unwrap_err();
            assert!(matches!(error, ReadError::Changed { found } if found != checksums[0]));
        }
    }
}

#[test]
fn punched_part_gives_its_room_back() {
    let directory = Directory::new("punched");
    let file = SpillFile::create(&directory.0).unwrap();
    let value = pseudo_random(1 << 20, 1);
    let _ = file.write(&[(&value, 0), (&value, 1 << 20)]);
    let full = file.size().unwrap();
    file.punch(0, 1 << 20);
    assert!(file.size().unwrap() <= full - (1 << 20), "{full}");
}

#[test]
fn memory_and_disk_are_told_apart() {
    assert!(is_in_memory(Path::new("/dev/shm")).unwrap());
    assert!(!is_in_memory(Path::new("/proc")).unwrap());
    assert!(is_in_memory(Path::new("/does/not/exist")).is_err());
}

#[test]
fn directory_that_cannot_be_used_says_why() {
    let error = SpillFile::create(Path::new("/does/not/exist")).unwrap_err();
    assert_eq!(error, rustix::io::Errno::NOENT);
    assert!(SpillFile::create(Path::new("/proc")).is_err());
}
