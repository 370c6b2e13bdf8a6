// `node --test` and `deno test --allow-read` run every case as a test of its own.
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { cases } from "./cases.js";

const vectors = (name) => readFileSync(new URL(`../../../tests/vectors/${name}.json`, import.meta.url), "utf8");
for (const [name, body] of cases(vectors("tokens"), vectors("feeds"))) test(name, body);
