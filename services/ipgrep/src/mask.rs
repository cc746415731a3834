//! What stands in the place of an identifier: masks, pseudonyms, encrypted addresses (PRISEM services
//! specification, 7.4, 7.8.5, 7.8.6 and 7.9).

use std::str::FromStr;

use crate::ident::{Address, Found, Token};
use crate::key::SecretKey;
use crate::map::{LabelId, Map};
use crate::pfx::Pfx;
use crate::pseudonym::Pseudonyms;

/// The label as it stands in a mask: every character other than ASCII letters, digits, `_` and `-` is one `-`.
#[must_use]
pub fn clean_label(label: &str) -> String {
    let kept = |sign: &char| sign.is_ascii_alphanumeric() || *sign == '_' || *sign == '-';
    label.chars().map(|sign| Some(sign).filter(kept).unwrap_or('-')).collect()
}

/// The text that fills a mask up to its width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Padding(Vec<u8>);

/// A padding that could make a mask look like something else.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the padding must be printable ASCII signs without letters, digits, blanks and [ ] . : |")]
pub struct BadPadding;

impl Padding {
    /// A padding of one or more signs.
    ///
    /// # Errors
    /// [`BadPadding`] for letters, digits, blanks, `[`, `]`, `.`, `:`, `|`, and for anything not printable ASCII.
    pub fn new(text: &str) -> Result<Self, BadPadding> {
        let fits = |sign: u8| sign.is_ascii_punctuation() && !b"[].:|".contains(&sign);
        if text.is_empty() || !text.bytes().all(fits) {
            return Err(BadPadding);
        }
        // Long enough that most masks take one copy from it; always whole repetitions.
        Ok(Self(text.as_bytes().repeat(64usize.div_ceil(text.len()))))
    }

    fn write(&self, out: &mut Vec<u8>, mut width: usize) {
        while width > self.0.len() {
            out.extend_from_slice(&self.0);
            width -= self.0.len();
        }
        out.extend_from_slice(&self.0[..width]);
    }
}

impl FromStr for Padding {
    type Err = BadPadding;

    fn from_str(text: &str) -> Result<Self, BadPadding> {
        Self::new(text)
    }
}

impl Default for Padding {
    /// `_`
    fn default() -> Self {
        Self(vec![b'_'; 64])
    }
}

/// Appends a mask of `width` bytes, at least 3; `label` must be clean (7.4).
pub fn write_mask(out: &mut Vec<u8>, label: &str, width: usize, padding: &Padding) {
    let inner = width.max(3) - 2;
    let label = label.get(..inner).unwrap_or(label).as_bytes();
    let padded = inner - label.len();
    out.push(b'[');
    padding.write(out, padded.div_ceil(2));
    out.extend_from_slice(label);
    padding.write(out, padded / 2);
    out.push(b']');
}

/// Widest mask that is made as one number.
const SHORT: usize = 16;

/// The first bytes of a text as a number, the first in the lowest place.
fn head(text: &[u8]) -> u128 {
    let mut bytes = [0; SHORT];
    bytes.iter_mut().zip(text).for_each(|(byte, given)| *byte = *given);
    u128::from_le_bytes(bytes)
}

/// A label and a padding, ready for masks as wide as most addresses.
#[derive(Clone, Copy, Debug)]
struct ShortMask {
    label: u128,
    len: usize,
    padding: u128,
}

impl ShortMask {
    fn new(label: &str, padding: &Padding) -> Self {
        Self { label: head(label.as_bytes()), len: label.len(), padding: head(&padding.0) }
    }

    /// What [`write_mask`] writes, if it takes at most [`SHORT`] bytes; by one copy.
    #[inline]
    fn write(&self, out: &mut Vec<u8>, width: usize) {
        let width = width.max(3);
        let len = self.len.min(width - 2);
        let padded = width - 2 - len;
        let left = padded.div_ceil(2);
        let first = |bits: u128, count: usize| bits & !(u128::MAX << (8 * count));
        let mask = u128::from(b'[')
            | first(self.padding, left) << 8
            | first(self.label, len) << (8 * (1 + left))
            | first(self.padding, padded / 2) << (8 * (1 + left + len))
            | u128::from(b']') << (8 * (width - 1));
        let end = out.len() + width;
        out.extend_from_slice(&mask.to_le_bytes());
        out.truncate(end);
    }
}

/// Which addresses are encrypted (7.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PfxScope {
    /// Those with a label.
    #[default]
    Matching,
    /// Every address; no map is needed.
    All,
}

/// A word that names no scope.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no scope `{0}` (matching or all)")]
pub struct UnknownScope(String);

impl FromStr for PfxScope {
    type Err = UnknownScope;

    fn from_str(word: &str) -> Result<Self, UnknownScope> {
        match word {
            "matching" => Ok(Self::Matching),
            "all" => Ok(Self::All),
            _ => Err(UnknownScope(word.to_owned())),
        }
    }
}

/// How identifiers are to be replaced.
#[derive(Clone, Debug, Default)]
pub struct MaskOptions {
    /// Padding of masks.
    pub padding: Padding,
    /// One width for all masks instead of that of the token, 3 to 255.
    pub width: Option<u8>,
    /// Pseudonyms made with this key instead of masks.
    pub pseudonyms: Option<SecretKey>,
    /// Encryption of addresses; other identifiers are masked or get pseudonyms as usual.
    pub pfx: Option<(Pfx, PfxScope)>,
}

/// Writes replacements for the identifiers of one map.
#[derive(Debug)]
pub struct Masker {
    options: MaskOptions,
    labels: Vec<Label>,
}

#[derive(Debug)]
struct Label {
    clean: String,
    short: ShortMask,
    pseudonyms: Option<Pseudonyms>,
}

impl Masker {
    /// Prepares the labels of a map.
    #[must_use]
    pub fn new(map: &Map, options: MaskOptions) -> Self {
        let label = |text| {
            let clean = clean_label(text);
            let short = ShortMask::new(&clean, &options.padding);
            let pseudonyms = options.pseudonyms.as_ref().map(|key| Pseudonyms::new(key, text));
            Label { clean, short, pseudonyms }
        };
        let labels = map.labels().map(|(_, text)| label(text)).collect();
        Self { options, labels }
    }

    /// Appends what replaces the token, or nothing and tells `false` if the token stays as it is.
    ///
    /// `label` is what the map of this masker gives the token.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>, token: &Token<'_>, label: Option<LabelId>) -> bool {
        if let Some((pfx, scope)) = &self.options.pfx
            && (label.is_some() || *scope == PfxScope::All)
            && encrypt(out, pfx, &token.found)
        {
            return true;
        }
        let Some(label) = label.and_then(|id| self.labels.get(id.index())) else { return false };
        if let Some(pseudonyms) = &label.pseudonyms {
            write_pseudonym(out, &label.clean, pseudonyms, &token.found);
        } else {
            let width = self.options.width.map_or(token.width(), usize::from);
            if width <= SHORT {
                label.short.write(out, width);
            } else {
                write_mask(out, &label.clean, width, &self.options.padding);
            }
        }
        true
    }
}

/// Appends the encrypted address; `false` if the identifier is none.
fn encrypt(out: &mut Vec<u8>, pfx: &Pfx, found: &Found<'_>) -> bool {
    let address = match *found {
        Found::Ip4(address) => Address::Ip4(pfx.ip4(address)),
        Found::Ip6(address) => Address::Ip6(pfx.ip6(address)),
        _ => return false,
    };
    address.write(out);
    true
}

fn write_pseudonym(out: &mut Vec<u8>, clean: &str, pseudonyms: &Pseudonyms, found: &Found<'_>) {
    out.push(b'[');
    out.extend_from_slice(clean.as_bytes());
    out.push(b'-');
    // The value is needed only for a moment: it is written where the pseudonym will stand.
    let at = out.len();
    found.write_value(out);
    let pseudonym = pseudonyms.of(&out[at..]);
    out.truncate(at);
    out.extend_from_slice(&pseudonym);
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::MapOptions;
    use crate::pfx::PfxMode;
    use crate::vectors;
    use proptest::prelude::*;

    fn mask(label: &str, width: usize, method: Option<&str>) -> String {
        let padding = method.map_or_else(Padding::default, |text| Padding::new(text).unwrap());
        let mut out = Vec::new();
        write_mask(&mut out, &clean_label(label), width, &padding);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn table() {
        for vector in vectors::table("masks.jsonl") {
            let width = usize::try_from(vector["width"].as_u64().unwrap()).unwrap();
            let made = mask(vector["label"].as_str().unwrap(), width, vector["method"].as_str());
            assert_eq!(made, vector["mask"].as_str().unwrap(), "{}", vector["id"]);
        }
    }

    #[test]
    fn paddings() {
        for text in ["", " ", "a", "0", "_[", ".", ":", "|", "é", "\t", "\u{7f}"] {
            assert_eq!(Padding::new(text), Err(BadPadding), "{text:?}");
        }
        for text in ["_", "~~~", "<>", "!\"#$%&'()*+,-/;<=>?@\\^_`{}~"] {
            assert!(Padding::new(text).is_ok(), "{text:?}");
        }
        assert_eq!(Padding::new("_"), Ok(Padding::default()));
    }

    fn replaced(options: MaskOptions, found: Found<'_>, width: usize) -> Option<String> {
        let map =
            Map::parse("192.0.2.0/24|Añ o\n.a.example|B".as_bytes(), &MapOptions::default()).unwrap().map;
        let label = match found {
            Found::Ip4(address) => map.ip4(address),
            Found::Host(name) => map.host(name),
            _ => None,
        };
        let mut out = b">".to_vec();
        let written =
            Masker::new(&map, options).write(&mut out, &Token { start: 7, end: 7 + width, found }, label);
        written.then(|| String::from_utf8(out).unwrap()).filter(|text| text.starts_with('>'))
    }

    #[test]
    fn a_masker_keeps_to_its_options() {
        let (inside, outside, host) = (Found::Ip4(0xc000_0201), Found::Ip4(1), Found::Host(b"x.a.example"));
        let plain = MaskOptions::default;
        assert_eq!(replaced(plain(), inside, 9).as_deref(), Some(">[__A--o_]"));
        assert_eq!(replaced(plain(), outside, 7), None);
        let fixed = MaskOptions { width: Some(3), ..plain() };
        assert_eq!(replaced(fixed, host, 11).as_deref(), Some(">[B]"));
        let key =
            SecretKey::parse(b"0123456789abcdeffedcba98765432101032547698badcfeefcdab8967452301").unwrap();
        let pfx = Pfx::new(PfxMode::IpcryptPfx, &key).unwrap();
        let named = MaskOptions { pseudonyms: Some(key), ..plain() };
        let pseudonym = replaced(named.clone(), inside, 9).unwrap();
        assert!(pseudonym.starts_with(">[A--o-") && pseudonym.len() == 16, "{pseudonym}");
        let matching = MaskOptions { pfx: Some((pfx.clone(), PfxScope::Matching)), ..named };
        assert_eq!(replaced(matching.clone(), inside, 9).as_deref(), Some(">100.115.72.131"));
        assert_eq!(replaced(matching.clone(), outside, 7), None);
        assert!(replaced(matching, host, 11).unwrap().starts_with(">[B-"));
        let all = MaskOptions { pfx: Some((pfx, PfxScope::All)), ..plain() };
        assert!(replaced(all.clone(), outside, 7).is_some());
        assert_eq!(replaced(all, Found::Host(b"else.example"), 12), None);
    }

    proptest! {
        #[test]
        fn a_short_mask_is_the_same(label in "\\PC{0,40}", width in 0..=SHORT, method in "[-~<>_%]{1,20}") {
            let padding = Padding::new(&method).unwrap();
            let mut out = b">".to_vec();
            ShortMask::new(&clean_label(&label), &padding).write(&mut out, width);
            let same = format!(">{}", mask(&label, width, Some(&method)));
            prop_assert_eq!(String::from_utf8(out).unwrap(), same);
        }

        #[test]
        fn a_mask_has_its_width(label in "\\PC{1,40}", width in 3usize..2000, method in "[-~<>_%]{1,9}") {
            let made = mask(&label, width, Some(&method));
            prop_assert_eq!(made.len(), width);
            prop_assert!(made.starts_with('[') && made.ends_with(']'));
            prop_assert!(!made.contains(['.', ':']));
        }
    }
}
