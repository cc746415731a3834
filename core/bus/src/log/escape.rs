//! Control signs made visible, so that no log line can move a terminal's cursor or fake another line.

use std::fmt::Write;

/// A message as a written line holds it: LF as `\n`, other control signs but TAB as `\xNN`
/// (PRISEM services specification, 9.1).
pub(crate) fn one_line(text: &str) -> String {
    visible(text).replace('\n', "\\n")
}

/// A text as a monitor shows it: control signs but TAB and LF as `\xNN` (PRISEM services specification, 9.4).
/// The control signs U+0080 to U+009F count too, by their bytes: terminals obey them.
pub(crate) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        if matches!(sign, '\n' | '\t') || !sign.is_control() {
            out.push(sign);
            continue;
        }
        for byte in sign.encode_utf8(&mut [0; 4]).bytes() {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_signs_are_shown() {
        let text = "a\tb\nc\r\u{1b}[0m\u{7f}\0\u{9b}é";
        assert_eq!(one_line(text), "a\tb\\nc\\x0d\\x1b[0m\\x7f\\x00\\xc2\\x9bé");
        assert_eq!(visible(text), "a\tb\nc\\x0d\\x1b[0m\\x7f\\x00\\xc2\\x9bé");
    }
}
