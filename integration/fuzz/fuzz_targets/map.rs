//! Maps: any bytes give a map or an error, and every question to the map has an answer of that map.
#![no_main]

use libfuzzer_sys::fuzz_target;
use polybus_ipgrep::{LabelChoice, Map, MapFormat, MapOptions, Tlp};

fuzz_target!(|data: &[u8]| {
    for format in [MapFormat::Text, MapFormat::Yaml, MapFormat::Auto] {
        for (tlp, label) in [(Tlp::White, LabelChoice::Anonymous), (Tlp::Red, LabelChoice::Site)] {
            if let Ok(loaded) = Map::parse(data, &MapOptions { format, tlp, label }) {
                ask(&loaded.map, data);
            }
        }
    }
});

/// Addresses and names from the input itself, so that they are often near a rule.
fn ask(map: &Map, data: &[u8]) {
    assert_eq!(map.is_empty(), map.rule_count() == 0);
    let mut answers = Vec::new();
    for piece in data.split(|byte| b"|,\n \"[]:".contains(byte)) {
        let text = std::str::from_utf8(piece).unwrap_or_default();
        answers.push(map.host(text.trim_start_matches(['.', '*']).to_lowercase().as_bytes()));
        if let Ok(address) = text.split('/').next().unwrap_or_default().parse() {
            answers.push(map.ip4(u32::from_be_bytes(std::net::Ipv4Addr::octets(&address))));
        }
    }
    let mut bits = [0; 16];
    let length = data.len().min(16);
    bits[..length].copy_from_slice(&data[..length]);
    let address = u128::from_be_bytes(bits);
    answers.push(map.ip6(address));
    answers.extend((0..=128).map(|length| map.cidr6(address & mask(length), length)));
    for id in answers.into_iter().flatten() {
        assert!(id.index() < map.label_count() && !map.label(id).is_empty());
    }
}

fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}
