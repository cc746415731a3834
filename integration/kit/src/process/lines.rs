//! Lines of bounded length from a stream.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

use super::MAX_LINE;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Without its end.
    Whole(Vec<u8>),
    /// It was longer than a line may be and was skipped.
    TooLong,
}

/// Lines from a stream. What has been read of a line lies here and not in the future that reads on, so a dropped `next`
/// loses nothing.
#[derive(Debug)]
pub(super) struct LineReader<R> {
    input: R,
    line: Vec<u8>,
    length: usize,
    max: usize,
}

impl<R: AsyncBufRead + Unpin> LineReader<R> {
    pub(super) const fn new(input: R) -> Self {
        Self { input, line: Vec::new(), length: 0, max: MAX_LINE }
    }

    /// The next line; `None` at the end. A last line without an end counts as one. Cancel safe.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let chunk = self.input.fill_buf().await?;
            if chunk.is_empty() {
                return Ok((self.length > 0).then(|| self.finished()));
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
            self.length += part.len();
            if self.length <= self.max {
                self.line.extend_from_slice(part);
            } else {
                // What is not kept must not be held.
                self.line = Vec::new();
            }
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                return Ok(Some(self.finished()));
            }
        }
    }

    fn finished(&mut self) -> Line {
        let (line, length) = (std::mem::take(&mut self.line), std::mem::take(&mut self.length));
        if length <= self.max { Line::Whole(line) } else { Line::TooLong }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncWriteExt, BufReader};

    #[tokio::test]
    async fn lines_are_bounded_and_none_is_lost() {
        let input: &[u8] = b"one\n\n12345678\ntwelve bytes\nlast";
        let mut reader = LineReader { max: 8, ..LineReader::new(input) };
        let mut lines = Vec::new();
        while let Some(line) = reader.next().await.unwrap() {
            lines.push(line);
        }
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        assert_eq!(lines, [whole("one"), whole(""), whole("12345678"), Line::TooLong, whole("last")]);
    }

    #[tokio::test]
    async fn a_dropped_next_keeps_what_was_read() {
        let (mut far, near) = tokio::io::duplex(64);
        let mut reader = LineReader::new(BufReader::new(near));
        for part in ["a long ", "line in ", "parts"] {
            far.write_all(part.as_bytes()).await.unwrap();
            assert!(tokio::time::timeout(Duration::ZERO, reader.next()).await.is_err());
        }
        far.write_all(b"\n").await.unwrap();
        assert_eq!(reader.next().await.unwrap(), Some(Line::Whole(b"a long line in parts".to_vec())));
    }
}
