// Unpacks the browser of the package @sparticuz/chromium, installed beside this file, and
// writes `chromium`, which starts it with the libraries and fonts that come with it.
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { createBrotliDecompress } from "node:zlib";
import { extract } from "tar-fs";

const here = dirname(fileURLToPath(import.meta.url));
const packed = join(here, "node_modules/@sparticuz/chromium/bin");
const unpacked = join(here, "unpacked");

const unpack = (name, target) =>
  pipeline(createReadStream(join(packed, `${name}.br`)), createBrotliDecompress(), target);

await rm(unpacked, { recursive: true, force: true });
await mkdir(unpacked);
for (const name of ["al2023.tar", "fonts.tar", "swiftshader.tar"]) await unpack(name, extract(unpacked));
await unpack("chromium", createWriteStream(join(unpacked, "chromium"), { mode: 0o755 }));
// The package's own names folders of the service that it is made for.
await writeFile(join(unpacked, "fonts.conf"), `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir prefix="relative">fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>
`);
await writeFile(join(here, "chromium"), `#!/bin/sh
folder=$(dirname "$(readlink -f "$0")")/unpacked
export LD_LIBRARY_PATH="$folder/lib" FONTCONFIG_PATH="$folder" XDG_CACHE_HOME="$folder/cache"
exec "$folder/chromium" "$@"
`, { mode: 0o755 });
