// In Node and deno: main.js end-to-end ISSUER USERNAME PASSWORD, or main.js names TOKENS FEEDS.
import { readFileSync } from "node:fs";
import process from "node:process";
import { cases } from "./cases.js";
import { endToEnd } from "./end_to_end.js";

const [what, ...rest] = process.argv.slice(2);
if (what === "end-to-end") {
  console.log(JSON.stringify(await endToEnd(...rest)));
} else {
  const [tokens, feeds] = rest.map((path) => readFileSync(path, "utf8"));
  console.log(JSON.stringify(cases(tokens, feeds).map(([name]) => name)));
}
