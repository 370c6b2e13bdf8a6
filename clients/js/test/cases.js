// The list of cases that every runtime passes: all shared vectors, and what only this client has.
// It reads no file and imports nothing but the client, so that all runtimes run it as it is.
import { KeySet, Rejection, RevocationList, Verifier } from "../hallpass.js";

/** Numbers that JSON.parse would round become BigInts, as the client has them. */
function parse(json) {
  const exact = json.replace(/([:[,])(-?\d{16,})(?=[,\]}])/g, '$1{"exact":"$2"}');
  const revive = (_, value) => {
    if (typeof value?.exact !== "string") return value;
    const n = BigInt(value.exact);
    return Number.isSafeInteger(Number(n)) ? Number(n) : n;
  };
  return JSON.parse(exact, revive);
}

/** A spelling that is the same for the same value, whatever the order of its keys. */
function spell(value) {
  if (typeof value === "bigint") return `${value}n`;
  if (Object.is(value, -0)) return "-0";
  if (Array.isArray(value)) return `[${value.map(spell)}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "undefined";
  return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${spell(value[key])}`)}}`;
}

function same(found, wanted, what) {
  if (spell(found) !== spell(wanted)) throw new Error(`${what}: ${spell(found)}, and not ${spell(wanted)}`);
}

/** Base64url without the client's limit of length. */
const bytesOf = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));

/** What was said: only a Rejection is a refusal, any other error a bug. */
async function verdictOf(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof Rejection) return error;
    throw error;
  }
}

async function refuses(promise, reason) {
  same((await verdictOf(promise))?.reason, reason, "reason");
}

async function misused(call) {
  let error;
  try {
    await call();
  } catch (thrown) {
    error = thrown;
  }
  if (!(error instanceof TypeError)) throw new Error(`a TypeError was expected, and not ${error}`);
}

function tokenCases({ key_sets, vectors }) {
  return vectors.map((vector) => [`token ${vector.name}`, async () => {
    const keys = await KeySet.fromJwks(key_sets[vector.key_set]);
    const { audience, issuer, leeway } = vector;
    const verifier = new Verifier({ keys, audience, issuer, leeway, revocations: false });
    const verdict = await verdictOf(verifier.verify(vector.token, vector.now));
    same([verdict.verdict, verdict.reason], [vector.verdict, vector.reason], "verdict");
    same(verdict.session, vector.session, "session");
  }]);
}

function feedCases({ feed_keys, vectors }) {
  return vectors.map((vector) => [`feed ${vector.name}`, async () => {
    const [feedKeys, revocations] = [await KeySet.fromJwks(feed_keys), new RevocationList()];
    for (const feed of vector.before) await revocations.applyFeed(bytesOf(feed), feedKeys, vector.now);
    const refused = await verdictOf(revocations.applyFeed(bytesOf(vector.feed), feedKeys, vector.now));
    same([refused ? "refused" : "applied", refused?.reason], [vector.verdict, vector.reason], "verdict");
    const { position, asOf } = revocations;
    same(position && { ...position, as_of: asOf }, vector.state, "state");
    for (const { token, now, stale_after, verdict, reason } of vector.tokens) {
      const said = await verdictOf(new Verifier({ revocations, staleAfter: stale_after }).verify(token, now));
      same([said.verdict, said.reason], [verdict, reason], "token");
    }
  }]);
}

const find = (file, name) => file.vectors.find((vector) => vector.name === name) ?? [][name];

/** What the vectors can't say. */
function ownCases(tokens, feeds) {
  const good = find(tokens, "text/plain");
  const jwks = tokens.key_sets.session;
  const keySet = () => KeySet.fromJwks(jwks);
  const feedKeys = () => KeySet.fromJwks(feeds.feed_keys);
  const verifier = async (more) => new Verifier({ keys: await keySet(), revocations: false, ...more });
  const part = (name) => bytesOf(find(feeds, name).feed);
  const at = find(feeds, "empty-snapshot").now;
  const coseKey = ({ x, kid, alg }) => Uint8Array.of(
    0xa6, 1, 1, 2, 0x48, ...bytesOf(btoa(kid.replace(/../g, (pair) => String.fromCharCode(parseInt(pair, 16))))),
    3, { EdDSA: 0x27, Ed25519: 0x32 }[alg], 4, 0x81, 2, 0x20, 6, 0x21, 0x58, 32, ...bytesOf(x),
  );
  return [
    ["keys from a COSE Key Set", async () => {
      const keys = await KeySet.fromCose(Uint8Array.of(0x82, ...jwks.keys.flatMap((key) => [...coseKey(key)])));
      for (const vector of [good, find(tokens, "text/algorithm--19")]) {
        same((await new Verifier({ keys, revocations: false }).verify(vector.token, vector.now)).verdict, "accepted");
      }
    }],
    ["a COSE Key Set that can't be used", async () => {
      const key = [...coseKey(jwks.keys[0])];
      const changed = (offset, byte) => Uint8Array.of(0x81, ...key.with?.(offset, byte) ?? key.map((b, i) => (i === offset ? byte : b)));
      await misused(() => KeySet.fromCose(Uint8Array.of(0x80)));
      await misused(() => KeySet.fromCose(Uint8Array.of(0x82, ...key, ...key)));
      await misused(() => KeySet.fromCose(changed(2, 2))); // kty
      await misused(() => KeySet.fromCose(changed(5, key[5] ^ 1))); // kid
      await misused(() => KeySet.fromCose(changed(14, 0x26))); // alg ES256
      await misused(() => KeySet.fromCose(changed(17, 1))); // key_ops sign
      await misused(() => KeySet.fromCose(Uint8Array.of(0x81, 0xa7, ...key.slice(1), 0x23, 0x41, 0))); // d
    }],
    ["a JWKS that can't be used", async () => {
      const [key] = jwks.keys;
      const weak = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
      const second = "7v_______________________________________38"; // y = p + 1
      const changes = [
        { kty: "EC" }, { crv: "X25519" }, { use: "enc" }, { key_ops: ["sign"] }, { alg: "ES256" }, { d: "" },
        { kid: "0000000000000000" }, { x: weak, kid: undefined }, { x: second, kid: undefined }, { x: key.x.slice(4), kid: undefined },
      ];
      for (const change of changes) await misused(() => KeySet.fromJwks({ keys: [{ ...key, ...change }] }));
      await misused(() => KeySet.fromJwks({ keys: [] }));
      await misused(() => KeySet.fromJwks({ keys: [key, key] }));
      await KeySet.fromJwks({ keys: [{ kty: key.kty, crv: key.crv, x: key.x }] });
    }],
    ["a configuration that would let everything in", async () => {
      const keys = await keySet();
      await misused(() => new Verifier({ keys }));
      await misused(() => new Verifier({ keys, revocations: null }));
      await misused(() => new Verifier({ revocations: false }));
      await misused(() => new Verifier({ keys: jwks, revocations: false }));
      for (const leeway of [-1, 61, NaN, "5"]) await misused(() => new Verifier({ keys, revocations: false, leeway }));
      for (const staleAfter of [-1, NaN, Infinity]) {
        await misused(() => new Verifier({ revocations: new RevocationList(), staleAfter }));
      }
      for (const now of [NaN, -1, "now", null, new Date(), Infinity]) {
        await misused(async () => (await verifier()).verify(good.token, now));
      }
    }],
    ["what some WebCrypto lets pass is refused before it is asked", async () => {
      const lenient = await verifier();
      const said = async (name) => verdictOf(lenient.verify(find(tokens, name).token, at));
      crypto.subtle.verify = async () => true;
      try {
        same((await said("text/plain")).verdict, "accepted", "the stand-in");
        for (const name of ["signature-malleated", "signature-identity", "signature-without-a-nonce", "signature-ones"]) {
          same((await said(`frame/${name}`)).reason, "bad_signature", name);
        }
      } finally {
        delete crypto.subtle.verify;
      }
      same((await said("frame/signature-of-another-key")).reason, "bad_signature", "without the stand-in");
    }],
    ["what is no text is no token", async () => {
      for (const token of [undefined, null, 5, {}, [good.token], new Uint8Array(4)]) {
        await refuses((await verifier()).verify(token, good.now), "malformed");
      }
    }],
    ["a refusal is an Error that says why in JSON", async () => {
      const refusal = await verdictOf((await verifier({ audience: "other" })).verify(good.token, good.now));
      same(refusal instanceof Error, true, "Error");
      same(JSON.parse(JSON.stringify(refusal)), { verdict: "refused", reason: "wrong_audience" }, "JSON");
    }],
    ["the clock is the machine's unless said otherwise", async () => {
      const now = Date.now() / 1000;
      const wanted = now < 1790000000 - 5 ? "not_yet_valid" : now < 1790039600 ? undefined : "session_ended";
      const { reason } = await verdictOf((await verifier()).verify(good.token));
      same(["expired", wanted].includes(reason), true, `${reason}`);
    }],
    ["a list that was told nothing is stale", async () => {
      const revocations = new RevocationList();
      await refuses((await verifier({ revocations })).verify(good.token, good.now), "revocations_stale");
      await refuses(new Verifier({ revocations }).verify(good.token, good.now), "unknown_key");
    }],
    ["keys that are pinned stay, whatever the feed says", async () => {
      const revocations = new RevocationList();
      await revocations.applyFeed(part("key-retires"), await feedKeys(), at);
      await refuses(new Verifier({ revocations }).verify(good.token, at + 5), "unknown_key");
      same((await (await verifier({ revocations })).verify(good.token, at + 5)).verdict, "accepted");
    }],
    ["without feed keys no feed is applied", async () => {
      const revocations = new RevocationList();
      await refuses(revocations.applyFeed(part("empty-snapshot"), await keySet(), at), "unknown_key");
      await refuses(revocations.applyFeed(part("empty-snapshot"), undefined, at), "unknown_key");
    }],
    ["two feeds at once, the later one wins", async () => {
      const [keys, revocations] = [await feedKeys(), new RevocationList()];
      const order = ["higher-epoch", "empty-snapshot"].map((name) => revocations.applyFeed(part(name), keys, at).catch(() => {}));
      await Promise.all(order);
      same(revocations.position, { epoch: 2, sequence: 1 }, "position");
    }],
    ["a part of more than 2 MiB is not looked at", async () => {
      const size = 2 * 1024 * 1024;
      const part = new Uint8Array(size + 80);
      part.set([0xd2, 0x84, 0x40, 0xa0, 0x5a, size >> 24, size >> 16, size >> 8, size]);
      part.set([0x58, 64], 9 + size);
      await refuses(new RevocationList().applyFeed(part.subarray(0, 11 + size + 64), await feedKeys(), at), "too_long");
    }],
  ];
}

/** Every case as [name, async function that throws if it fails]. The arguments are the texts of the files. */
export function cases(tokensJson, feedsJson) {
  const [tokens, feeds] = [parse(tokensJson), parse(feedsJson)];
  return [...tokenCases(tokens), ...feedCases(feeds), ...ownCases(tokens, feeds)];
}

/** Runs every case: `[{ name, error }]`, error null where it passed. */
export async function run(tokensJson, feedsJson) {
  const results = [];
  for (const [name, test] of cases(tokensJson, feedsJson)) {
    results.push({ name, error: await test().then(() => null, (error) => `${error?.stack ?? error}`) });
  }
  return results;
}
