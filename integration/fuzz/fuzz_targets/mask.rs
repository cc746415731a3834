//! Masking a text: the same width, nothing of the map left, and a second pass changes nothing. The first line of the
//! input is the map.
#![no_main]

use std::num::NonZeroUsize;

use libfuzzer_sys::fuzz_target;
use polybus_ipgrep::{
    Count, Map, MapFormat, MapOptions, MaskOptions, Masker, Output, RunOptions, Select, run,
};

const ALWAYS: &[u8] = b"192.0.2.0/24|ALPHA|CITYA\n2001:db8::/32|BRAVO|CITY B\n.example|CHARLIE|c.example\n0.0.0.0/1|x|1.2.3.4\n";

fuzz_target!(|data: &[u8]| {
    let cut = data.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (rule, text) = data.split_at(cut);
    let options = MapOptions { format: MapFormat::Text, ..MapOptions::default() };
    let Ok(loaded) = Map::parse(&[ALWAYS, rule].concat(), &options) else { return };
    let masked = pass(&loaded.map, text, 64 * 1024);
    assert_eq!(masked.len(), text.len());
    assert_eq!(pass(&loaded.map, &masked, 64 * 1024), masked);
    assert_eq!(pass(&loaded.map, text, 7), masked, "the result depends on the size of chunks");
});

fn pass(map: &Map, text: &[u8], chunk: usize) -> Vec<u8> {
    let masker = Masker::new(map, MaskOptions::default());
    let options = RunOptions {
        output: Output::Lines(Select::All, Some(&masker)),
        count: Count::All,
        chunk: NonZeroUsize::new(chunk).expect("not zero"),
        ..RunOptions::default()
    };
    let mut out = Vec::new();
    let report = run([text], &mut out, map, &options).expect("memory can be read and written");
    assert_eq!(report.written, out.len() as u64);
    out
}
