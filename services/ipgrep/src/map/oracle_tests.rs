//! Lookups against a linear scan of the rules.

use proptest::prelude::*;

use super::key::Key;
use super::{Map, MapOptions};

fn masked4(net: u32, len: u8) -> u32 {
    net & u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0)
}

fn masked6(net: u128, len: u8) -> u128 {
    net & u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
}

/// The label by reading every rule: the longest that fits, of equals the first.
fn best(rules: &[(String, String)], fits: impl Fn(&Key) -> Option<usize>) -> Option<&str> {
    let mut found: Option<(usize, &str)> = None;
    for (key, label) in rules {
        let Some(length) = Key::parse(key).as_ref().and_then(&fits) else { continue };
        if found.is_none_or(|(longest, _)| length > longest) {
            found = Some((length, label));
        }
    }
    found.map(|(_, label)| label)
}

fn scan4(rules: &[(String, String)], address: u32, block: u8) -> Option<&str> {
    best(rules, |key| match key {
        Key::Block4 { net, len } if *len <= block && masked4(address, *len) == *net => {
            Some(usize::from(*len))
        }
        _ => None,
    })
}

fn scan6(rules: &[(String, String)], address: u128, block: u8) -> Option<&str> {
    best(rules, |key| match key {
        Key::Block6 { net, len } if *len <= block && masked6(address, *len) == *net => {
            Some(usize::from(*len))
        }
        _ => None,
    })
}

fn scan_host<'a>(rules: &'a [(String, String)], host: &str) -> Option<&'a str> {
    best(rules, |key| match key {
        Key::Domain(name) if host == name || host.ends_with(&format!(".{name}")) => {
            Some(name.split('.').count())
        }
        _ => None,
    })
}

fn load(rules: &[(String, String)]) -> Map {
    let rows: Vec<String> = rules.iter().map(|(key, label)| format!("{key}|{label}\n")).collect();
    Map::parse(rows.concat().as_bytes(), &MapOptions::default()).unwrap().map
}

fn labelled(keys: Vec<String>) -> Vec<(String, String)> {
    (0..).zip(keys).map(|(number, key): (usize, _)| (key, format!("L{}", number % 7))).collect()
}

/// Few different bits, so that blocks nest, touch and repeat.
fn address4() -> impl Strategy<Value = u32> {
    let near = (0u32..4, 0u32..3, 0u32..4).prop_map(|(a, b, c)| 0xc000_0000 | a << 16 | b << 15 | c);
    prop_oneof![4 => near, 1 => any::<u32>(), 1 => Just(0), 1 => Just(u32::MAX)]
}

fn address6() -> impl Strategy<Value = u128> {
    let near = (0u128..3, 0u128..3, 0u128..4).prop_map(|(a, b, c)| 0x2001_0db8 << 96 | a << 80 | b << 64 | c);
    prop_oneof![4 => near, 1 => any::<u128>(), 1 => Just(0), 1 => Just(u128::MAX)]
}

fn keys4() -> impl Strategy<Value = Vec<String>> {
    let len = prop_oneof![0u8..=32, 14u8..=18, 30u8..=32];
    let key = (address4(), len).prop_map(|(net, len)| format!("{}/{len}", std::net::Ipv4Addr::from(net)));
    prop::collection::vec(key, 0..40)
}

fn keys6() -> impl Strategy<Value = Vec<String>> {
    let len = prop_oneof![0u8..=128, 40u8..=66, 126u8..=128];
    let key = (address6(), len).prop_map(|(net, len)| format!("{}/{len}", std::net::Ipv6Addr::from(net)));
    prop::collection::vec(key, 0..40)
}

fn name() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "example", "org"]), 1..6)
        .prop_map(|labels| labels.join("."))
}

proptest! {
    #[test]
    fn ip4_is_the_longest_prefix(keys in keys4(), asked in prop::collection::vec(address4(), 1..40)) {
        let rules = labelled(keys);
        let map = load(&rules);
        for address in asked.into_iter().flat_map(|at| [at, at.wrapping_add(1), at.wrapping_sub(1)]) {
            let found = map.ip4(address).map(|id| map.label(id));
            prop_assert_eq!(found, scan4(&rules, address, 32));
        }
    }

    #[test]
    fn ip6_is_the_longest_prefix(keys in keys6(), asked in prop::collection::vec(address6(), 1..40)) {
        let rules = labelled(keys);
        let map = load(&rules);
        for address in asked.into_iter().flat_map(|at| [at, at.wrapping_add(1), at.wrapping_sub(1)]) {
            if matches!(address >> 32, 0 | 0xffff) {
                continue; // embedded IPv4 addresses have a test of their own
            }
            let found = map.ip6(address).map(|id| map.label(id));
            prop_assert_eq!(found, scan6(&rules, address, 128));
        }
    }

    #[test]
    fn a_block_needs_a_rule_that_covers_all_of_it(
        keys in (keys4(), keys6()), v4 in (address4(), 0u8..=32), v6 in (address6(), 0u8..=128)
    ) {
        let rules = labelled([keys.0, keys.1].concat());
        let map = load(&rules);
        let found = map.cidr4(masked4(v4.0, v4.1), v4.1).map(|id| map.label(id));
        prop_assert_eq!(found, scan4(&rules, masked4(v4.0, v4.1), v4.1));
        let net = masked6(v6.0, v6.1);
        if !matches!(net >> 32, 0 | 0xffff) {
            let found = map.cidr6(net, v6.1).map(|id| map.label(id));
            prop_assert_eq!(found, scan6(&rules, net, v6.1));
        }
    }

    #[test]
    fn hosts_take_the_rule_with_most_labels(
        keys in prop::collection::vec(name().prop_map(|name| format!(".{name}")), 0..20),
        asked in prop::collection::vec(name(), 1..20)
    ) {
        let rules = labelled(keys);
        let map = load(&rules);
        for host in &asked {
            prop_assert_eq!(map.host(host.as_bytes()).map(|id| map.label(id)), scan_host(&rules, host));
        }
    }

    #[test]
    fn any_bytes_load_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(loaded) = Map::parse(&bytes, &MapOptions::default()) {
            prop_assert!(loaded.map.label_count() <= loaded.map.rule_count());
        }
    }

    #[test]
    fn yaml_like_text_loads_or_is_refused(text in "---\n([-:{}\\[\\],&*a \n'\"|>!%#?]|cidr: |1\\.2\\.3\\.4){0,80}") {
        let _answered = Map::parse(text.as_bytes(), &MapOptions::default()).is_ok();
    }
}

#[test]
fn embedded_addresses_fall_back_to_ip4_rules() {
    let rows = "192.0.2.0/24|V4\n64:ff9b::c000:201|EXACT\n::ffff:198.51.100.0/120|MAPPED\n";
    let map = Map::parse(rows.as_bytes(), &MapOptions::default()).unwrap().map;
    let of = |text: &str| {
        let address: std::net::Ipv6Addr = text.parse().unwrap();
        map.ip6(address.into()).map(|id| map.label(id))
    };
    assert_eq!(of("64:ff9b::c000:202"), Some("V4"));
    assert_eq!(of("64:ff9b::c000:201"), Some("EXACT"));
    assert_eq!(of("::192.0.2.9"), Some("V4"));
    assert_eq!(of("::ffff:192.0.2.9"), Some("V4"));
    assert_eq!(of("64:ff9b::198.51.100.1"), Some("MAPPED"));
    assert_eq!(of("64:ff9b:1::c000:202"), None);
    assert_eq!(of("::1"), None);
    assert_eq!(map.ip4(0xc633_6407).map(|id| map.label(id)), Some("MAPPED"));
}

#[test]
fn small_embedded_values_are_not_addresses() {
    let map = Map::parse(b"0.0.0.0/0|ALL", &MapOptions::default()).unwrap().map;
    assert_eq!(map.ip6(0xffff), None);
    assert!(map.ip6(0x1_0000).is_some());
    assert!(map.ip6(u128::from(u32::MAX)).is_some());
    assert_eq!(map.ip6(1 << 32), None);
}

#[test]
fn embedded_blocks_fall_back_too() {
    let map = Map::parse(b"192.0.2.0/24|V4", &MapOptions::default()).unwrap().map;
    let net = |text: &str| u128::from(text.parse::<std::net::Ipv6Addr>().unwrap());
    assert!(map.cidr6(net("64:ff9b::c000:200"), 120).is_some());
    assert!(map.cidr6(net("64:ff9b::c000:200"), 128).is_some());
    assert!(map.cidr6(net("::ffff:192.0.2.0"), 121).is_some());
    assert!(map.cidr6(net("64:ff9b::c000:200"), 119).is_none());
    assert!(map.cidr6(net("64:ff9b::"), 95).is_none());
}

#[test]
fn an_empty_map_finds_nothing() {
    let map = Map::empty();
    assert!(map.is_empty());
    assert_eq!(
        (map.ip4(1), map.ip6(1 << 100), map.host(b"a.example"), map.cidr4(0, 0)),
        (None, None, None, None)
    );
}
