//! File suffixes (PRISEM services specification, 7.2.3).

/// Every suffix of the specification, in lower case.
const SUFFIXES: [&str; 83] = [
    "asp", "aspx", "bak", "bat", "bin", "bmp", "bz2", "cfg", "cgi", "conf", "config", "cpp", "csv", "css",
    "dat", "dbf", "dll", "dmg", "doc", "docx", "elf", "eml", "eps", "exe", "gif", "gz", "hta", "htm", "html",
    "ico", "ini", "iso", "jar", "jpeg", "jpg", "js", "json", "jsp", "lnk", "lock", "log", "lua", "mso",
    "msi", "odt", "old", "orig", "out", "pcap", "pcapng", "pdf", "pem", "php", "png", "ppt", "pptx", "pst",
    "pyc", "rar", "rpm", "rtf", "scr", "sql", "swf", "sys", "tar", "tgz", "tif", "tiff", "tmp", "txt", "vbs",
    "vmdk", "wav", "war", "xls", "xlsx", "xml", "xsl", "xz", "yaml", "yml", "zst",
];

const LONGEST: usize = 6;
const SLOTS: usize = 1024;

/// Suffixes by the hash of their packed bytes; 0 is a free slot.
static TABLE: [u64; SLOTS] = table();

const fn table() -> [u64; SLOTS] {
    let mut table = [0; SLOTS];
    let mut i = 0;
    while i < SUFFIXES.len() {
        let packed = pack(SUFFIXES[i].as_bytes());
        let mut slot = slot_of(packed);
        while table[slot] != 0 && table[slot] != packed {
            slot = (slot + 1) % SLOTS;
        }
        table[slot] = packed;
        i += 1;
    }
    table
}

/// Up to eight bytes in lower case as one number; the empty text is 0.
const fn pack(text: &[u8]) -> u64 {
    let mut packed = 0;
    let mut i = 0;
    while i < text.len() {
        packed = packed << 8 | text[i].to_ascii_lowercase() as u64;
        i += 1;
    }
    packed
}

#[allow(clippy::cast_possible_truncation)] // ten bits are left
const fn slot_of(packed: u64) -> usize {
    (packed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize
}

/// Whether a whole alphanumeric run is a file suffix, in any case.
#[inline]
pub(super) fn is_suffix(run: &[u8]) -> bool {
    if !(2..=LONGEST).contains(&run.len()) {
        return false;
    }
    let packed = pack(run);
    let mut slot = slot_of(packed);
    while TABLE[slot] != 0 {
        if TABLE[slot] == packed {
            return true;
        }
        slot = (slot + 1) % SLOTS;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suffix_and_nothing_else() {
        for suffix in SUFFIXES {
            assert!(is_suffix(suffix.as_bytes()) && is_suffix(suffix.to_uppercase().as_bytes()));
            let (longer, shorter) = (format!("{suffix}q"), &suffix[1..]);
            assert!(!is_suffix(longer.as_bytes()) || SUFFIXES.contains(&longer.as_str()));
            assert!(!is_suffix(shorter.as_bytes()) || SUFFIXES.contains(&shorter));
        }
        for other in ["", "x", "com", "org", "example", "g\0z", "7z"] {
            assert!(!is_suffix(other.as_bytes()));
        }
    }
}
