"""Records what the official SDKs send for the request in
worker/tests/fixtures/wire/prompt.json, so that a test can hold our own
requests against theirs. See README.md beside this file."""

import json
import pathlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from urllib.parse import parse_qsl, urlsplit

import anthropic
import openai
from anthropic import transform_schema
from google import genai
from google.genai import types
from openai.lib._pydantic import _ensure_strict_json_schema

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "worker/tests/fixtures/wire"
# Headers that matter to the API; the others describe the SDK.
HEADERS = ["content-type", "authorization", "x-api-key", "x-goog-api-key", "anthropic-version"]
KEY = "test-key"


class Recorder(BaseHTTPRequestHandler):
    """Records the request and answers with an error, which ends the call."""

    seen = None

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        parts = urlsplit(self.path)
        Recorder.seen = {
            "method": self.command,
            "path": parts.path,
            "query": dict(parse_qsl(parts.query)),
            "headers": {name: self.headers[name] for name in HEADERS if self.headers[name]},
            "body": json.loads(body),
        }
        self.send_response(400)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def ask_chat(base, prompt, model, role, correction, extra):
    messages = [
        {"role": role, "content": prompt["system"]},
        {"role": "user", "content": prompt["user"]},
    ]
    if correction:
        messages.append({"role": "assistant", "content": correction["previous"]})
        messages.append({"role": "user", "content": correction["instruction"]})
    schema = json.loads(json.dumps(prompt["schema"]))
    schema = _ensure_strict_json_schema(schema, path=(), root=schema)
    openai.OpenAI(api_key=KEY, base_url=base + "/v1", max_retries=0).chat.completions.create(
        model=model,
        messages=messages,
        max_completion_tokens=prompt["output_estimate"],
        response_format={
            "type": "json_schema",
            "json_schema": {"name": prompt["schema_name"], "strict": True, "schema": schema},
        },
        stream=True,
        **extra,
    )


def ask_openai(base, prompt, correction):
    ask_chat(base, prompt, "gpt-6-luna", "developer", correction, {
        "reasoning_effort": "low",
        "store": False,
        "safety_identifier": prompt["user_hash"],
        "stream_options": {"include_usage": True, "include_obfuscation": False},
    })


def ask_llama(base, prompt, correction):
    ask_chat(base, prompt, "house-llama", "system", correction, {
        "stream_options": {"include_usage": True},
    })


def ask_anthropic(base, prompt, correction):
    messages = [{"role": "user", "content": prompt["user"]}]
    if correction:
        messages.append({"role": "assistant", "content": correction["previous"]})
        messages.append({"role": "user", "content": correction["instruction"]})
    anthropic.Anthropic(api_key=KEY, base_url=base, max_retries=0).messages.create(
        model="claude-haiku-5-5",
        max_tokens=prompt["output_estimate"],
        system=prompt["system"],
        messages=messages,
        output_config={
            "effort": "low",
            "format": {"type": "json_schema", "schema": transform_schema(prompt["schema"])},
        },
        metadata={"user_id": prompt["user_hash"]},
        stream=True,
    )


def ask_gemini(base, prompt, correction):
    def turn(role, text):
        return types.Content(role=role, parts=[types.Part(text=text)])

    contents = [turn("user", prompt["user"])]
    if correction:
        contents.append(turn("model", correction["previous"]))
        contents.append(turn("user", correction["instruction"]))
    client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=base))
    stream = client.models.generate_content_stream(
        model="gemini-3.5-flash-lite",
        contents=contents,
        config=types.GenerateContentConfig(
            system_instruction=prompt["system"],
            max_output_tokens=prompt["output_estimate"],
            response_mime_type="application/json",
            response_json_schema=prompt["schema"],
            thinking_config=types.ThinkingConfig(thinking_level="LOW"),
        ),
    )
    next(stream)


SDKS = {
    "openai": (ask_openai, "openai"),
    "llama": (ask_llama, "openai"),
    "anthropic": (ask_anthropic, "anthropic"),
    "gemini": (ask_gemini, "google-genai"),
}


def main():
    prompt = json.loads((FIXTURES / "prompt.json").read_text())
    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    for name, (ask, package) in SDKS.items():
        for suffix, correction in (("", None), ("-correction", prompt["correction"])):
            Recorder.seen = None
            try:
                ask(base, prompt, correction)
            except Exception as error:  # The recorder always answers with an error.
                if Recorder.seen is None:
                    raise SystemExit(f"{name}: the SDK sent nothing: {error!r}") from error
            captured = {"sdk": f"{package} {version(package)}", **Recorder.seen}
            path = FIXTURES / f"{name}{suffix}.json"
            path.write_text(json.dumps(captured, indent=2) + "\n")
            print(path.name)


if __name__ == "__main__":
    main()
