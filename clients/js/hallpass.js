// Verifies hallpass tokens and applies the revocation feed, with WebCrypto alone. The rules are
// those of docs/specification.md; browsers, Node, deno and workerd run this file as it is.

const MAX_TIME = 253402300799; // the last second that RFC 3339 can write
/** A token or a feed that is refused, and why: `reason` is one of the specification's. */
export class Rejection extends Error {
  constructor(reason, detail) {
    Object.assign(super(detail ? `${reason}: ${detail}` : reason), { verdict: "refused", reason, detail });
  }
}

const refuse = (reason, detail) => { throw new Rejection(reason, detail); };
const must = (holds, detail) => holds || refuse("malformed", detail);
const misuse = (why) => { throw new TypeError(why); };
const isUint = (v) => (typeof v === "number" || typeof v === "bigint") && v >= 0;
const isTime = (v) => isUint(v) && v <= MAX_TIME;
const isBytes = (v, length) => v instanceof Uint8Array && v.length === (length ?? v.length);
const isArray = (v, length) => Array.isArray(v) && v.length === (length ?? v.length);
const isMap = (v, size) => v instanceof Map && v.size === (size ?? v.size);
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const utf8 = (text) => new TextEncoder().encode(text);
const sha256 = async (bytes) => hex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
const rfc3339 = (time) => `${new Date(time * 1000).toISOString().slice(0, 19)}Z`;
const later = (time, by) => Math.min(MAX_TIME, time + by);
const seconds = (now = Date.now() / 1000) => (isTime(now) ? Math.floor(now) : misuse("now: seconds since 1970"));
function base64url(text) {
  must(typeof text === "string" && text.length <= 4096, "too_long");
  must(/^[A-Za-z0-9_-]+$/.test(text) && text.length % 4 !== 1, "not_base64url");
  const usual = text.replaceAll("-", "+").replaceAll("_", "/");
  const binary = atob(usual);
  must(btoa(binary).replaceAll("=", "") === usual, "stray_bits");
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

// ---- CBOR, of which one encoding of each item is accepted (RFC 8949 §4.2.1)
class Tag { constructor(tag, item) { Object.assign(this, { tag, item }); } }
class Reader {
  constructor(bytes) { Object.assign(this, { bytes, at: 0 }); }
  take(length) {
    must(length <= this.bytes.length - this.at, "truncated");
    return this.bytes.subarray(this.at, (this.at += Number(length)));
  }
  argument(info) {
    if (info < 24) return info;
    must(info < 28, info === 31 ? "indefinite_length" : "not_well_formed");
    const bytes = this.take(1 << (info - 24));
    const n = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
    must(n >= [24, 0x100, 0x10000, 0x100000000][info - 24], "not_shortest");
    return Number.isSafeInteger(n) ? n : BigInt(`0x${hex(bytes)}`);
  }
  /** One item of at most `depth` levels. A loop over an announced length ends with the input. */
  item(depth) {
    const initial = this.take(1)[0];
    const [major, info] = [initial >> 5, initial & 31];
    if (major === 7) return this.simpleOrFloat(info);
    const n = this.argument(info);
    if (major === 0) return n;
    if (major === 1) return Number.isSafeInteger(-1 - Number(n)) ? -1 - Number(n) : -1n - BigInt(n);
    if (major === 2) return this.take(n);
    if (major === 3) return text(this.take(n));
    must(depth > 0, "too_deep");
    if (major === 6) return new Tag(n, this.item(depth - 1));
    const items = [];
    for (let i = 0, last = ""; i < n; i++) {
      const [start, item] = [this.at, this.item(depth - 1)];
      const encoded = major === 5 && hex(this.bytes.subarray(start, this.at));
      must(major === 4 || last < encoded, last === encoded ? "duplicate_key" : "unsorted_keys");
      items.push(major === 4 ? item : [item, this.item(depth - 1)]);
      last = encoded;
    }
    return major === 4 ? items : new Map(items);
  }
  simpleOrFloat(info) {
    if (info < 24) return info === 22 ? null : info === 20 || info === 21 ? info === 21 : new Tag("simple", null);
    must(info < 28, "not_well_formed");
    const bytes = this.take(1 << (info - 24));
    if (info === 24) return must(bytes[0] >= 32, "not_well_formed") && new Tag("simple", null);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const value = info === 25 ? half(view.getUint16(0)) : info === 26 ? view.getFloat32(0) : view.getFloat64(0);
    // Whether the next smaller size has the value. Half precision has ten bits after the first.
    const exponent = Math.max(-14, ((view.getUint16(0) >> 7) & 255) - 127);
    const fitsHalf = Math.abs(value) === Infinity || (exponent < 16 && Number.isInteger(value / 2 ** (exponent - 10)));
    const fits = info === 26 ? fitsHalf : info === 27 && Math.fround(value) === value;
    must(Number.isNaN(value) ? hex(bytes) === "7e00" : !fits, "not_shortest");
    return new Tag("float", value);
  }
}
const text = (bytes, decoded = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes)) =>
  must(hex(utf8(decoded)) === hex(bytes), "not_utf8") && decoded;
function half(bits) {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
}
function decode(bytes, depth, reader = new Reader(bytes)) {
  const item = reader.item(depth);
  return must(reader.at === bytes.length, "trailing_bytes") && item;
}
/** As JSON: byte strings in hex, tags dropped, keys that are not text as their JSON. */
function plain(item) {
  const name = (key) => (typeof key === "object" ? JSON.stringify(plain(key)) : `${key}`);
  if (isMap(item)) return Object.fromEntries([...item].map(([key, value]) => [name(key), plain(value)]));
  if (item instanceof Tag) return plain(item.item);
  if (isArray(item)) return item.map(plain);
  return isBytes(item) ? hex(item) : typeof item === "number" && !Number.isFinite(item) ? null : item;
}

// ---- COSE_Sign1 (RFC 9052 §4.2), Ed25519 as verify_strict of ed25519-dalek has it, and keys
function sign1(bytes, item = decode(bytes, 4)) {
  const [wrapped, unprotected, payload, signature] = item?.tag === 18 && isArray(item.item, 4) ? item.item : [];
  must(isBytes(wrapped) && isMap(unprotected, 0) && isBytes(payload) && isBytes(signature, 64), "not_sign1");
  const header = decode(wrapped, 2);
  const [alg, kid, typ] = [1, 4, 16].map((label) => isMap(header, 3) && header.get(label));
  must((alg === -8 || alg === -19) && isBytes(kid, 8) && (isUint(typ) || typeof typ === "string"), "header");
  // §4.4: what is signed, of the bytes as received. Tag, array and empty map have a byte each.
  const end = (part) => part.byteOffset - bytes.byteOffset + part.length;
  const items = [bytes.subarray(2, end(wrapped)), bytes.subarray(end(wrapped) + 1, end(payload))];
  const message = Uint8Array.from([0x84, 0x6a, ...utf8("Signature1"), ...items[0], 0x40, ...items[1]]);
  return { alg, kid: hex(kid), typ, payload, signature, message };
}
const [P, L] = [2n ** 255n - 19n, 2n ** 252n + 27742317777372353535851937790883648493n];
const Y8 = 0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n;
const SMALL_ORDER = [0n, 1n, P - 1n, Y8, P - Y8]; // y of the eight points of small order
const littleEndian = (bytes) => BigInt(`0x${hex(Uint8Array.from(bytes).reverse())}`);
// A point of small order, or in a second spelling: WebCrypto may let both pass.
const isWeak = (point, y = littleEndian(point) % 2n ** 255n) => y >= P || SMALL_ORDER.includes(y);
async function authenticate({ alg, kid, signature, message }, keys, now) {
  const key = keys?.get(kid, now) ?? refuse("unknown_key", kid);
  const isStrict = key.alg === alg && !isWeak(signature.subarray(0, 32)) && littleEndian(signature.subarray(32)) < L;
  if (!isStrict || !(await crypto.subtle.verify("Ed25519", key.handle, signature, message))) refuse("bad_signature");
}
async function publicKey(isUsable, x, alg, kid, retires = Infinity) {
  const isGood = isUsable && isBytes(x, 32) && !isWeak(x) && (alg === -8 || alg === -19);
  if (!isGood) misuse("not a public Ed25519 key to verify with, or a weak one");
  // The key's thumbprint is of { 1: 1, -1: 6, -2: x } (RFC 9679).
  const id = (await sha256(Uint8Array.of(0xa3, 1, 1, 0x20, 6, 0x21, 0x58, 32, ...x))).slice(0, 16);
  if (kid !== undefined && kid !== id) misuse(`a kid that is not the key's, which is ${id}`);
  return { id, alg, retires, handle: await crypto.subtle.importKey("raw", x, "Ed25519", true, ["verify"]) };
}

/** The keys to trust. A kid is a look-up here and nothing else. */
export class KeySet {
  #keys;
  constructor(keys) {
    this.#keys = new Map(keys.map((key) => [key.id, key]));
    if (keys.length === 0 || keys.length > this.#keys.size) misuse("no keys, or one twice");
  }
  /** A COSE Key Set, as of /.well-known/hallpass/keys or `hallpass key export`. */
  static async fromCose(bytes) {
    const keys = decode(bytes, 3).map(async (key) => {
      const [kty, kid, alg = -8, ops = [2], crv, x] = [1, 2, 3, 4, -1, -2].map((label) => key.get(label));
      return publicKey(kty === 1 && crv === 6 && ops.includes(2) && !key.has(-4), x, alg, kid && hex(kid));
    });
    return new KeySet(await Promise.all(keys));
  }
  /** A JWKS, parsed, as of /.well-known/jwks.json. */
  static async fromJwks(jwks) {
    const keys = jwks.keys.map(async (key) => {
      const { kty, crv, use = "sig", key_ops = ["verify"], alg = "EdDSA", kid, x } = key;
      const isUsable = kty === "OKP" && crv === "Ed25519" && use === "sig" && key_ops.includes("verify");
      return publicKey(isUsable && !("d" in key), base64url(x), { EdDSA: -8, Ed25519: -19 }[alg], kid);
    });
    return new KeySet(await Promise.all(keys));
  }
  /** The key of this id (hex), unless it has retired by `now`. */
  get(id, now) { return [this.#keys.get(id)].find((key) => now < key?.retires); }
}

// ---- Tokens
const CLAIMS = [1, 2, 3, 4, 6, 7, 8, -65537, -65538, -65540];
const isMethod = (method) => typeof method === "string" && /^[!-~]{1,32}$/.test(method);
function readClaims(payload) {
  const claims = decode(payload, 17);
  must(isMap(claims) && [...claims.keys()].every((label) => CLAIMS.includes(label)), "unknown_claim");
  const [iss, sub = "", aud, exp, iat, cti, cnf, part, app = null, amr] = CLAIMS.map((label) => claims.get(label));
  must([iss, sub, aud].every((name) => ["string", "undefined"].includes(typeof name)), "claim_type");
  must(isArray(part, 5) && isBytes(cti, 16) && sub !== "" && utf8(sub).length <= 255, "claim_type");
  const [sid, started, ends, generation, authTime] = part;
  must(isBytes(sid, 16) && isUint(generation) && [exp, iat, started, ends, authTime].every(isTime), "claim_type");
  must(cnf === undefined || (isMap(cnf, 1) && isBytes(cnf.get(5), 32)), "claim_range");
  must(amr === undefined || (Array.isArray(amr) && amr.length >= 1 && amr.length <= 8 && amr.every(isMethod)), "claim_range");
  must(started <= iat && authTime <= iat && iat < exp && exp <= ends, "times_out_of_order");
  const [issued_at, expires_at, started_at, ends_at, auth_time] = [iat, exp, started, ends, authTime].map(rfc3339);
  const ids = { subject: sub, session_id: hex(sid), token_id: hex(cti), audience: aud ?? null };
  const times = { issued_at, expires_at, started_at, ends_at, auth_time };
  const session = { ...ids, ...times, amr: amr ?? [], generation, claims: plain(app) };
  return { issuer: iss ?? null, iat, exp, started, ends, cnf, session };
}

/** Verifies and admits tokens with public keys alone. */
export class Verifier {
  constructor({ keys, audience = null, issuer = null, leeway = 5, revocations, staleAfter }) {
    const isKnown = revocations instanceof RevocationList;
    if (!isKnown && revocations !== false) misuse("revocations: a RevocationList, or false to do without");
    if (!(keys instanceof KeySet) && !(isKnown && keys === undefined)) misuse("keys: a KeySet");
    if (!isTime(leeway) || leeway > 60 || !isTime(staleAfter ?? 0)) misuse("leeway (at most 60) and staleAfter: seconds");
    Object.assign(this, { keys, audience, issuer, leeway, revocations, staleAfter });
  }
  /** `{ verdict: "accepted", session }`, or throws a Rejection. */
  async verify(token, time) {
    const now = seconds(time);
    const frame = sign1(base64url(token));
    if (frame.typ !== 61) refuse("wrong_type");
    await authenticate(frame, this.keys ?? this.revocations.keys, now);
    const { issuer, iat, exp, started, ends, cnf, session } = readClaims(frame.payload);
    if (issuer !== this.issuer) refuse("wrong_issuer");
    if (session.audience !== this.audience) refuse("wrong_audience");
    if (iat > later(now, this.leeway)) refuse("not_yet_valid");
    if (now >= later(ends, this.leeway)) refuse("session_ended");
    if (now >= later(exp, this.leeway)) refuse("expired");
    if (this.revocations) {
      const subject = (await sha256(utf8(session.subject))).slice(0, 32);
      const by = this.revocations.check([session.session_id, subject, frame.kid, ""], started);
      if (!(now - (this.revocations.asOf ?? NaN) <= (this.staleAfter ?? Math.max(30, this.revocations.tokenMaxAge)))) refuse("revocations_stale");
      if (by) refuse("revoked", by);
    }
    if (cnf) refuse("proof_required"); // proofs are not checked here
    return { verdict: "accepted", session };
  }
}

// ---- The revocation feed
const KINDS = [["session", 3, 16], ["subject", 4, 16], ["key", 3, 8], ["all", 3, 0]]; // items, bytes of the id
function readEntry(entry) { // [kind, id?, t?, ends]
  must(isArray(entry) && isUint(entry[0]), "claim_type");
  const [, length, idLength] = KINDS[entry[0]] ?? refuse("unknown_entry", `${entry[0]}`);
  const [kind, id] = idLength ? entry : [entry[0], new Uint8Array()];
  const [upTo, ends] = kind % 2 ? entry.slice(-2) : [MAX_TIME, entry.at(-1)];
  must(isArray(entry, length) && isBytes(id, idLength) && isTime(upTo) && isTime(ends), "claim_type");
  return { name: `${kind}${hex(id)}`, upTo, ends };
}
function isLifetimes(times) { // [token_max_age, idle_timeout, renew_after, leeway]
  const most = 400 * 86400;
  const [age, idle, renew, leeway] = isArray(times, 4) && times.every(isUint) ? times : [0];
  return age >= 1 && idle >= age && idle <= most && renew <= age && leeway <= 60;
}
async function readSessionKey(key) {
  must(isArray(key, 5) && isBytes(key[0], 8) && isBytes(key[1], 32) && key.slice(3).every(isTime), "claim_type");
  const [kid, x, alg, , end] = key;
  return publicKey(true, x, alg, hex(kid), end < MAX_TIME ? end : Infinity).catch(() => refuse("bad_session_key"));
}
async function readPart(bytes, item, feedKeys, now) {
  const frame = sign1(bytes, item);
  if (frame.typ !== "application/hallpass-feed") refuse("wrong_type");
  await authenticate(frame, feedKeys, now);
  const payload = decode(frame.payload, 16);
  const isFeed = isMap(payload, payload.has?.(10) ? 9 : 8);
  const fields = [1, 2, 3, 4, 6, 7, 8, 9, 10].map((label) => isFeed && payload.get(label));
  const [epoch, sequence, base, exp, iat, place, entries, keys, lifetimes] = fields;
  must(isUint(epoch) && isUint(sequence) && (base === null || (isUint(base) && base <= sequence)), "claim_type");
  must(isTime(exp) && isTime(iat) && iat < exp && isArray(place, 2), "times_out_of_order");
  must(place.every(isUint) && place[0] < place[1] && isArray(entries) && isArray(keys), "claim_type");
  must(lifetimes === undefined || (place[0] === 0 && isLifetimes(lifetimes)), "claim_range");
  if (iat > later(now, 5)) refuse("not_yet_valid");
  if (now >= later(exp, 5)) refuse("expired");
  const sessionKeys = await Promise.all(keys.map(readSessionKey));
  if (sessionKeys.some(({ id }) => feedKeys.get(id, 0))) refuse("shared_key");
  const head = [epoch, sequence, base, exp, iat, place[1]];
  return { head, part: place[0], entries: entries.map(readEntry), sessionKeys, lifetimes };
}
async function readFeed(bytes, feedKeys, now) {
  const [reader, parts] = [new Reader(bytes), []];
  while (parts.length < (parts[0]?.head[5] ?? 1)) {
    if (parts.length > 0 && reader.at === bytes.length) refuse("missing_parts");
    const [start, item] = [reader.at, reader.item(16)];
    if (reader.at - start > 2 * 1024 * 1024) refuse("too_long");
    parts.push(await readPart(bytes.subarray(start, reader.at), item, feedKeys, now));
    if (`${parts[0].head}` !== `${parts.at(-1).head}`) refuse("parts_disagree");
    if (new Set(parts.map(({ part }) => part)).size < parts.length) refuse("duplicate_part");
  }
  must(reader.at === bytes.length, "trailing_bytes");
  const [entries, keys] = ["entries", "sessionKeys"].map((field) => parts.flatMap((part) => part[field]));
  if (keys.length > 256) refuse("too_many_session_keys");
  if (new Set(keys.map(({ id }) => id)).size < keys.length) refuse("duplicate_session_key");
  const live = keys.filter(({ retires }) => now < retires);
  const [{ head, lifetimes }] = parts;
  return live.length > 0 ? { head, lifetimes, entries, keys: new KeySet(live) } : refuse("no_session_keys");
}

/** What is revoked and which session keys there are, as the feed applied last says. */
export class RevocationList {
  #entries = new Map();
  position = null; // { epoch, sequence }
  asOf = null; // when the feed was signed, in seconds
  keys = null;
  tokenMaxAge = 900; // in seconds, as the feed states it
  /** Applies all of a feed, or throws a Rejection and is as it was. */
  async applyFeed(bytes, feedKeys, time) {
    const now = seconds(time);
    const { head, lifetimes, entries, keys } = await readFeed(bytes, feedKeys, now);
    // Nothing is awaited from here on, so that of two feeds at once each is whole.
    const [[epoch, sequence, base, , iat], at] = [head, this.position];
    const isAt = (place) => at?.epoch === epoch && at.sequence === place;
    if (isAt(sequence) && iat < this.asOf) refuse("older");
    if (at && (epoch < at.epoch || (epoch === at.epoch && sequence < at.sequence))) refuse("backwards");
    if (base !== null && !isAt(base)) refuse("gap");
    if (base === null && !isAt(sequence)) this.#entries.clear();
    for (const { name, upTo, ends } of base === null && isAt(sequence) ? [] : entries) {
      const old = this.#entries.get(name) ?? { upTo, ends };
      this.#entries.set(name, { upTo: Math.max(upTo, old.upTo), ends: Math.max(ends, old.ends) });
    }
    // With the largest leeway a session may be taken for a live one for 60 s more.
    for (const [name, { ends }] of this.#entries) if (later(ends, 60) < now) this.#entries.delete(name);
    const asOf = at?.epoch === epoch ? Math.max(this.asOf, iat) : iat;
    Object.assign(this, { keys, asOf, position: { epoch, sequence }, tokenMaxAge: lifetimes?.[0] ?? 900 });
  }
  /** The kind of entry of the widest reach that revokes a session; `ids` has one for each kind. */
  check(ids, started) {
    return KINDS[ids.findLastIndex((id, kind) => started <= this.#entries.get(`${kind}${id}`)?.upTo)]?.[0];
  }
}
