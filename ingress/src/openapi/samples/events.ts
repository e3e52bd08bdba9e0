import { RegimenClient } from "regimen-client";

const regimen = new RegimenClient({
  baseUrl: "https://api.example.com",
  token: () => process.env.TOKEN,
});

// A stream that breaks is resumed after the last event received.
for await (const event of regimen.events(process.env.JOB!)) {
  console.log(event.seq, event.kind, event.data);
}
