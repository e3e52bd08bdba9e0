//! The readers of the providers' replies, whole and streamed.

use regimen_worker::llm::http::Assemble;
use regimen_worker::llm::sse::{Decoder, Event};
use regimen_worker::llm::{ProviderError, ProviderName, RawReply, interpret};
use regimen_worker::llm::{anthropic, gemini, openai};
use serde_json::Value;

/// A bound on one streamed event.
const MOST_EVENT_BYTES: usize = 64 * 1024;

pub(crate) fn openai(bytes: &[u8]) {
    whole(ProviderName::Openai, bytes);
    streamed(ProviderName::Openai, bytes, Box::<openai::stream::Assembler>::default());
}

pub(crate) fn anthropic(bytes: &[u8]) {
    whole(ProviderName::Anthropic, bytes);
    streamed(ProviderName::Anthropic, bytes, Box::<anthropic::stream::Assembler>::default());
}

pub(crate) fn gemini(bytes: &[u8]) {
    whole(ProviderName::Gemini, bytes);
    streamed(ProviderName::Gemini, bytes, Box::<gemini::stream::Assembler>::default());
}

/// Any host that speaks OpenAI's format.
pub(crate) fn llama(bytes: &[u8]) {
    whole(ProviderName::Llama, bytes);
    streamed(ProviderName::Llama, bytes, Box::<openai::stream::Assembler>::default());
}

fn whole(provider: ProviderName, bytes: &[u8]) {
    let Ok(body) = std::str::from_utf8(bytes) else { return };
    read(provider, body.to_owned());
}

/// A reply is read as JSON text, or told apart as one of the failures that a
/// reply can be; the same bytes always give the same.
fn read(provider: ProviderName, body: String) {
    let raw = RawReply { status: 200, body, request_id: None };
    let first = interpret(provider, &raw);
    assert_eq!(first, interpret(provider, &raw));
    match first {
        Ok(reply) => {
            assert_eq!(reply.provider, provider);
            assert!(serde_json::from_str::<Value>(&reply.text).is_ok(), "{}", reply.text);
        }
        Err(error) => {
            // What a reply can be, and what an error in its place can say.
            assert!(!["connect", "timeout", "too_large"].contains(&error.class()), "{error:?}");
        }
    }
}

/// The bytes as an event stream, cut in two ways: what comes of it may not
/// depend on where the network cut it.
fn streamed(provider: ProviderName, bytes: &[u8], assembler: Box<dyn Assemble>) {
    let at_once = events(&[bytes]);
    let in_pieces: Vec<&[u8]> = bytes.chunks(7).collect();
    assert_eq!(at_once, events(&in_pieces));
    if let Ok(body) = assemble(&at_once, assembler) {
        read(provider, body.to_string());
    }
}

fn events(pieces: &[&[u8]]) -> Vec<Event> {
    let (mut decoder, mut events) = (Decoder::new(MOST_EVENT_BYTES), Vec::new());
    for piece in pieces {
        if decoder.push(piece, &mut events).is_err() {
            break;
        }
    }
    decoder.finish(&mut events);
    events
}

fn assemble(events: &[Event], mut assembler: Box<dyn Assemble>) -> Result<Value, ProviderError> {
    for event in events {
        if assembler.push(event)? {
            break;
        }
    }
    Ok(assembler.finish())
}
