//! The parsers of the providers' replies, complete and streamed.

use regimen_worker::llm::http::Assemble;
use regimen_worker::llm::sse::{Decoder, Event};
use regimen_worker::llm::{ProviderError, ProviderName, RawReply, interpret};
use regimen_worker::llm::{anthropic, gemini, openai};
use serde_json::Value;

/// The size limit of one streamed event.
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

/// Any host with OpenAI's format.
pub(crate) fn llama(bytes: &[u8]) {
    whole(ProviderName::Llama, bytes);
    streamed(ProviderName::Llama, bytes, Box::<openai::stream::Assembler>::default());
}

fn whole(provider: ProviderName, bytes: &[u8]) {
    let Ok(body) = std::str::from_utf8(bytes) else { return };
    read(provider, body.to_owned());
}

/// A reply is either JSON text or one of the failures of a reply; equal bytes give equal
/// results.
fn read(provider: ProviderName, body: String) {
    let raw = RawReply { status: 200, body: body.into(), request_id: None };
    let first = interpret(provider, &raw);
    assert_eq!(first, interpret(provider, &raw));
    match first {
        Ok(reply) => {
            assert_eq!(reply.provider, provider);
            assert!(serde_json::from_str::<Value>(&reply.text).is_ok(), "{}", reply.text);
        }
        Err(error) => {
            // The failures of a reply and of an error sent instead of it.
            let elsewhere = ["connect", "certificate", "timeout", "too_large"];
            assert!(!elsewhere.contains(&error.class()), "{error:?}");
        }
    }
}

/// The bytes as an event stream, split in two ways: the result must not depend on the
/// split.
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
