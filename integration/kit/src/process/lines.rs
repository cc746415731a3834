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

/// The next line; `None` at the end. A last line without an end counts as one.
pub(super) async fn next_line(input: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Line>> {
    next_line_within(input, MAX_LINE).await
}

async fn next_line_within(input: &mut (impl AsyncBufRead + Unpin), max: usize) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    let mut length = 0_usize;
    loop {
        let chunk = input.fill_buf().await?;
        if chunk.is_empty() {
            return Ok((length > 0).then(|| finished(line, length, max)));
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
        length += part.len();
        if length <= max {
            line.extend_from_slice(part);
        } else {
            // What is not kept must not be held.
            line = Vec::new();
        }
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            return Ok(Some(finished(line, length, max)));
        }
    }
}

fn finished(line: Vec<u8>, length: usize, max: usize) -> Line {
    if length <= max { Line::Whole(line) } else { Line::TooLong }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_bounded_and_none_is_lost() {
        let mut input: &[u8] = b"one\n\n12345678\ntwelve bytes\nlast";
        let mut lines = Vec::new();
        while let Some(line) = next_line_within(&mut input, 8).await.unwrap() {
            lines.push(line);
        }
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        assert_eq!(lines, [whole("one"), whole(""), whole("12345678"), Line::TooLong, whole("last")]);
    }
}
