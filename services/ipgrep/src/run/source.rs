//! Reading several inputs as one text, in chunks of whole lines.

use std::io::{self, ErrorKind, Read};

use memchr::memrchr;

use super::RunError;

/// Inputs read in order as one text. A line never continues into the next input.
#[derive(Debug)]
pub(super) struct Source<I: Iterator> {
    inputs: I,
    current: Option<I::Item>,
    /// How many inputs were begun.
    number: usize,
    /// Whether nothing came from the current input yet.
    fresh: bool,
    /// The beginning of a line whose end has not been read.
    rest: Vec<u8>,
    /// How much is asked for at a time.
    chunk: usize,
}

impl<I> Source<I>
where
    I: Iterator,
    I::Item: Read,
{
    pub(super) fn new(inputs: I, chunk: usize) -> Self {
        Self { inputs, current: None, number: 0, fresh: true, rest: Vec::new(), chunk: chunk.max(1) }
    }

    /// Replaces what is in `text` by the next whole lines; the very last line may lack its LF. `false` at the end.
    ///
    /// Returns as soon as a line is complete, so that a slow input is not held back.
    pub(super) fn read(&mut self, text: &mut Vec<u8>) -> Result<bool, RunError> {
        text.clear();
        text.append(&mut self.rest);
        loop {
            let known = text.len();
            let more = self.read_some(text)?;
            if let Some(end) = memrchr(b'\n', &text[known..]) {
                self.rest.extend_from_slice(&text[known + end + 1..]);
                text.truncate(known + end + 1);
                return Ok(true);
            }
            if !more {
                return Ok(!text.is_empty());
            }
        }
    }

    /// Appends what one read gives, after the LF that the input before lacks. `false` at the end of all inputs.
    fn read_some(&mut self, text: &mut Vec<u8>) -> Result<bool, RunError> {
        loop {
            let Some(input) = &mut self.current else {
                self.current = self.inputs.next();
                (self.number, self.fresh) = (self.number + 1, true);
                if self.current.is_none() {
                    return Ok(false);
                }
                continue;
            };
            let joined = self.fresh && !text.is_empty();
            if joined {
                text.push(b'\n');
            }
            let read = fill(input, text, self.chunk);
            if read.map_err(|error| RunError::Read { input: self.number, error })? > 0 {
                self.fresh = false;
                return Ok(true);
            }
            // An empty input ends no line: what was read may be the very last one.
            if joined {
                text.pop();
            }
            self.current = None;
        }
    }
}

/// Appends up to `wanted` bytes by one read, and gives their number.
fn fill(input: &mut impl Read, text: &mut Vec<u8>, wanted: usize) -> io::Result<usize> {
    let known = text.len();
    text.resize(known + wanted, 0);
    let read = loop {
        match input.read(&mut text[known..]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => break result,
        }
    };
    text.truncate(known + read.as_ref().map_or(0, |read| *read));
    read
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunks(inputs: &[&str], chunk: usize) -> Vec<String> {
        let mut source = Source::new(inputs.iter().map(|text| text.as_bytes()), chunk);
        let (mut text, mut chunks) = (Vec::new(), Vec::new());
        while source.read(&mut text).unwrap() {
            chunks.push(String::from_utf8(text.clone()).unwrap());
        }
        assert!(text.is_empty() && !source.read(&mut text).unwrap());
        chunks
    }

    #[test]
    fn whole_lines_as_soon_as_they_are_complete() {
        assert_eq!(chunks(&["ab\ncdef\ng"], 4), ["ab\n", "cdef\n", "g"]);
        assert_eq!(chunks(&["abcdefgh\n"], 3), ["abcdefgh\n"]);
        assert_eq!(chunks(&[], 3), [""; 0]);
    }

    #[test]
    fn a_final_newline_is_supplied_between_inputs() {
        assert_eq!(chunks(&["a", "b\n", "c", "", "d", ""], 9).concat(), "a\nb\nc\nd");
        assert_eq!(chunks(&["", "a", "", ""], 9).concat(), "a");
        assert_eq!(chunks(&["a\n", "", "\n"], 9).concat(), "a\n\n");
    }

    #[test]
    fn a_failure_names_the_input() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("worn out"))
            }
        }
        let inputs: [Box<dyn Read>; 2] = [Box::new(&b"a\n"[..]), Box::new(Broken)];
        let mut source = Source::new(inputs.into_iter(), 9);
        let mut text = Vec::new();
        assert!(source.read(&mut text).unwrap());
        let error = source.read(&mut text).unwrap_err();
        assert_eq!(error.to_string(), "cannot read input 2: worn out");
    }

    proptest! {
        #[test]
        fn nothing_is_lost(inputs in proptest::collection::vec("[ab\n]{0,9}", 0..5), chunk in 1..7_usize) {
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            let mut want = String::new();
            for input in inputs.iter().filter(|input| !input.is_empty()) {
                if !want.is_empty() && !want.ends_with('\n') {
                    want.push('\n');
                }
                want.push_str(input);
            }
            let made = chunks(&inputs, chunk);
            prop_assert_eq!(made.concat(), want);
            let (_, whole) = made.split_last().map_or((None, &[][..]), |(last, rest)| (Some(last), rest));
            prop_assert!(whole.iter().all(|chunk| chunk.ends_with('\n')));
        }
    }
}
