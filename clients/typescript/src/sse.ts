/** Parses server-sent events (HTML standard, section 9.2.6). */

export interface Frame {
  /** The lines of `data`, joined; empty for a frame without any. */
  data: string;
  /** The reconnection time in milliseconds, if the frame sets it. */
  retry?: number;
}

/** The frames of a stream; `alive` is called whenever bytes arrive. */
export async function* frames(body: ReadableStream<Uint8Array>, alive: () => void): AsyncGenerator<Frame> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = "";
  let frame: Frame = { data: "" };
  let any = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      // An incomplete frame at the end is dropped.
      if (done) return;
      alive();
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (line === "") {
          if (any) yield frame;
          frame = { data: "" };
          any = false;
          continue;
        }
        const colon = line.indexOf(":");
        if (colon === 0) continue;
        const name = colon < 0 ? line : line.slice(0, colon);
        const text = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
        if (name === "data") frame.data += frame.data === "" ? text : `\n${text}`;
        else if (name === "retry" && /^\d+$/.test(text)) frame.retry = Number(text);
        else continue;
        any = true;
      }
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}
