// Runs a sample of the API's description: TypeScript, from the named file, with this
// client. The suite `samples-typescript` of `cargo xtask test` uses it.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const { outputFiles } = await build({
  stdin: { contents: await readFile(process.argv[2], "utf8"), loader: "ts" },
  alias: { "regimen-client": fileURLToPath(new URL("../src/index.ts", import.meta.url)) },
  bundle: true,
  format: "esm",
  platform: "node",
  write: false,
});
const [{ contents }] = outputFiles;
await import(`data:text/javascript;base64,${Buffer.from(contents).toString("base64")}`);
