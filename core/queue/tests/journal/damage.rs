//! Rot: flipped bits and missing files end in a clear statement.

use polybus_queue::journal::{Damaged, OpenError, Options};

use crate::disk::{Memory, Random};
use crate::ward::{Ward, options};

fn aged(seed: u64) -> Ward {
    let mut random = Random::new(seed);
    let mut ward = Ward::open(Memory::default(), options()).unwrap();
    for _ in 0..150 + random.below(200) {
        ward.step(&mut random);
    }
    assert!(ward.commit(true));
    ward
}

fn set_aside() -> Options {
    Options { damaged: Damaged::SetAside, ..options() }
}

#[test]
fn flipped_bits_are_found_named_and_set_aside() {
    let (mut refused, mut cut, mut unseen) = (0, 0, 0);
    for seed in 0..2000 {
        let ward = aged(seed % 40);
        let mut random = Random::new(seed);
        let disk = ward.disk.after_kill();
        let names: Vec<String> = disk.names().into_iter().filter(|name| !name.starts_with("spare")).collect();
        let name = &names[random.below(names.len() as u64) as usize];
        disk.rot(name, |bytes| {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
        });
        match Ward::open(disk.clone(), options()) {
            Err(OpenError::Damaged(damage)) => {
                refused += 1;
                assert!(damage.to_string().contains(&damage.file), "{damage}");
                go_on(&disk, seed);
            }
            Err(OpenError::Version { .. }) => {}
            Err(other) => panic!("seed {seed}: {other}"),
            Ok(found) if found.recovered.cut.is_some() => cut += 1,
            Ok(_) => {
                unseen += 1;
                // In bytes that nobody needs: nothing may be missing then.
                let mut whole = ward.reopen(disk).unwrap();
                whole.check(&format!("seed {seed}"));
            }
        }
    }
    assert!(refused > 300 && cut > 10 && unseen > 100, "{refused} refused, {cut} cut, {unseen} unseen");
}

/// Told to, it goes on with what is whole, keeps the files, and is whole from then on.
fn go_on(disk: &Memory, seed: u64) {
    let Ok(ward) = Ward::open(disk.clone(), set_aside()) else {
        // Without a start there is nothing to go on from.
        return;
    };
    let damage = ward.recovered.set_aside.clone().unwrap_or_else(|| panic!("seed {seed}: not stated"));
    assert_eq!(ward.engine.load().messages, damage.messages, "seed {seed}");
    assert!(ward.recovered.to_string().contains("set aside"), "{}", ward.recovered);
    if damage.what != "the file is missing" {
        assert!(
            disk.names().iter().any(|name| name.ends_with(".damaged")),
            "seed {seed}: {:?}",
            disk.names()
        );
    }
    let again =
        Ward::open(disk.after_kill(), options()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert_eq!(again.recovered.set_aside, None);
    assert_eq!(again.engine.load().messages, damage.messages, "seed {seed}");
}

#[test]
fn a_missing_segment_is_found() {
    for seed in 0..40 {
        let ward = aged(seed);
        let segments: Vec<String> =
            ward.disk.names().into_iter().filter(|name| name.ends_with(".journal")).collect();
        for name in segments.iter().take(segments.len() - 1) {
            let disk = ward.disk.after_kill();
            polybus_queue::journal::Disk::remove(&disk, name).unwrap();
            let error = Ward::open(disk, options()).err().unwrap();
            assert!(matches!(error, OpenError::Damaged(_)), "{name}: {error}");
        }
    }
}

#[test]
fn a_missing_start_is_found() {
    let ward = aged(1);
    let disk = ward.disk.after_kill();
    polybus_queue::journal::Disk::remove(&disk, "start").unwrap();
    let error = Ward::open(disk, options()).err().unwrap();
    assert!(error.to_string().contains("start"), "{error}");
}

#[test]
fn any_bytes_for_a_segment_are_an_error_and_no_panic() {
    let ward = aged(3);
    for seed in 0..2000 {
        let mut random = Random::new(seed);
        let disk = ward.disk.after_kill();
        let names = disk.names();
        let name = &names[random.below(names.len() as u64) as usize];
        disk.rot(name, |bytes| {
            let (from, length) = (random.below(bytes.len() as u64) as usize, random.below(300) as usize);
            match random.below(3) {
                0 => bytes.truncate(from),
                1 => drop(bytes.drain(from..(from + length).min(bytes.len()))),
                _ => bytes.iter_mut().skip(from).take(length).for_each(|byte| *byte = random.next() as u8),
            }
        });
        // Whatever it says, it says it.
        let _ = Ward::open(disk.clone(), options());
        let _ = Ward::open(disk, set_aside());
    }
}
