//! Server-sent events out of a byte stream, with a bound on what one event
//! may hold. Follows the parsing rules of the HTML standard, section
//! "Server-sent events", for the fields the providers use: `event` and `data`,
//! in any case, with white space before them.

/// One dispatched event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The `event` field, empty when there was none.
    pub name: String,
    /// The `data` lines, joined by line feeds.
    pub data: String,
}

/// Why a byte stream is not an event stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// One event exceeds the bound.
    #[error("an event is longer than {0} bytes")]
    TooLong(usize),
}

/// Decodes chunks of bytes, split anywhere, into events.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    after_carriage_return: bool,
    first_line: bool,
}

impl Decoder {
    /// A decoder that refuses events above `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            event: Event { name: String::new(), data: String::new() },
            has_data: false,
            after_carriage_return: false,
            first_line: true,
        }
    }

    /// Adds bytes and appends the completed events to `events`.
    ///
    /// # Errors
    /// The stream violates the format or the bound; it cannot be read further.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), SseError> {
        for &byte in bytes {
            let follows_carriage_return =
                std::mem::replace(&mut self.after_carriage_return, byte == b'\r');
            match byte {
                b'\n' if follows_carriage_return => {}
                b'\n' | b'\r' => self.end_line(events),
                _ => {
                    if self.line.len() + self.event.data.len() >= self.limit {
                        return Err(SseError::TooLong(self.limit));
                    }
                    self.line.push(byte);
                }
            }
        }
        Ok(())
    }

    /// The stream has ended. Its last event counts even without its blank line, because
    /// hosts forget it; incomplete events are detected by their parser.
    pub fn finish(&mut self, events: &mut Vec<Event>) {
        if !self.line.is_empty() {
            self.end_line(events);
        }
        self.end_line(events);
    }

    fn end_line(&mut self, events: &mut Vec<Event>) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let mut line = line.as_ref();
        if std::mem::replace(&mut self.first_line, false) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            let event = std::mem::replace(
                &mut self.event,
                Event { name: String::new(), data: String::new() },
            );
            if std::mem::replace(&mut self.has_data, false) {
                events.push(event);
            }
            return;
        }
        // Some hosts put a line break after `data:`.
        if line.trim_start().starts_with('{') {
            return self.data(line);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        let field = field.trim();
        if field.eq_ignore_ascii_case("event") {
            value.clone_into(&mut self.event.name);
        } else if field.eq_ignore_ascii_case("data") {
            self.data(value);
        } else if field.eq_ignore_ascii_case("error") {
            // Not a standard field, but how llama.cpp reports a failure.
            "error".clone_into(&mut self.event.name);
            self.data(value);
        }
        // Comments (an empty field), `id`, `retry` and unknown fields.
    }

    fn data(&mut self, value: &str) {
        if std::mem::replace(&mut self.has_data, true) {
            self.event.data.push('\n');
        }
        self.event.data.push_str(value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(chunks: &[&[u8]]) -> Vec<Event> {
        let mut decoder = Decoder::new(1_000);
        let mut events = Vec::new();
        for chunk in chunks {
            decoder.push(chunk, &mut events).unwrap();
        }
        events
    }

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn fields_comments_and_line_ends_are_read_as_the_standard_says() {
        let text = "\u{feff}: hello\r\nevent: ping\ndata: {\"a\":1}\n\ndata:one\rdata: two\r\r\nid: 7\nretry: 5\n\n";
        assert_eq!(decode(&[text.as_bytes()]), [event("ping", "{\"a\":1}"), event("", "one\ntwo")]);
    }

    #[test]
    fn an_unfinished_event_waits_for_the_end_of_the_stream() {
        for rest in ["data: last", "data: last\n", "data: last\r\n"] {
            let mut decoder = Decoder::new(1_000);
            let mut events = Vec::new();
            decoder.push(format!("data: whole\n\n{rest}").as_bytes(), &mut events).unwrap();
            assert_eq!(events, [event("", "whole")]);
            decoder.finish(&mut events);
            assert_eq!(events, [event("", "whole"), event("", "last")]);
        }
    }

    #[test]
    fn an_endless_event_is_refused_and_bad_letters_are_replaced() {
        let mut decoder = Decoder::new(10);
        assert_eq!(decoder.push(b"data: 123456", &mut Vec::new()), Err(SseError::TooLong(10)));
        let mut decoder = Decoder::new(10);
        let lines = b"data:1234\ndata:1234\ndata:1234\n";
        assert_eq!(decoder.push(lines, &mut Vec::new()), Err(SseError::TooLong(10)));
        assert_eq!(decode(&[b"data: \xff\n\n"]), [event("", "\u{fffd}")]);
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_does_not_matter(
            lines in proptest::collection::vec("(data: ?[a-zä€]{0,6}|event: [a-z]{1,4}|: c|)(\n|\r|\r\n)", 0..20),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        ) {
            let text = lines.concat().into_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            at.extend([0, text.len()]);
            at.sort_unstable();
            let chunks: Vec<&[u8]> = at.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            prop_assert_eq!(decode(&chunks), decode(&[&text]));
        }
    }
}
