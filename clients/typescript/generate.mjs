// Writes src/api.ts from openapi.json: the types of the API, without operators' routes
// and without the error responses, which are all `Problem`. With --check it only
// compares, and fails if the file is out of date.
import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";

const OURS = new Set(["plans", "jobs", "usage", "billing", "account"]);
const file = new URL("src/api.ts", import.meta.url);

const document = JSON.parse(await readFile(new URL("openapi.json", import.meta.url), "utf8"));
delete document.webhooks;
for (const [path, item] of Object.entries(document.paths)) {
  for (const [method, operation] of Object.entries(item)) {
    if (!path.startsWith("/v1/") || !operation.tags?.some((tag) => OURS.has(tag))) {
      delete item[method];
      continue;
    }
    for (const [status, response] of Object.entries(operation.responses)) {
      if (Number(status) >= 400) delete operation.responses[status];
      else delete response.headers;
    }
  }
  if (Object.keys(item).length === 0) delete document.paths[path];
}
keepWhatIsNamed(document);

const head = "// Generated from openapi.json by `npm run generate`; do not edit.\n\n";
const types = head + astToString(await openapiTS(document));
if (process.argv.includes("--check")) {
  if ((await readFile(file, "utf8")) !== types) {
    console.error("src/api.ts is not what openapi.json gives: run `npm run generate`");
    process.exit(1);
  }
} else {
  await writeFile(file, types);
}

/** Removes schemas that no remaining path uses, except Problem, for errors. */
function keepWhatIsNamed(document) {
  const schemas = document.components.schemas;
  const kept = new Set(["Problem"]);
  const open = [JSON.stringify(document.paths), JSON.stringify(schemas.Problem)];
  while (open.length > 0) {
    for (const [, name] of open.pop().matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
      if (!kept.has(name)) open.push(JSON.stringify(schemas[name]));
      kept.add(name);
    }
  }
  for (const name of Object.keys(schemas)) if (!kept.has(name)) delete schemas[name];
}
