/** Why a token is refused, in the order in which it is checked. */
export type Reason =
  | "malformed" | "wrong_type" | "unknown_key" | "bad_signature" | "wrong_issuer" | "wrong_audience"
  | "not_yet_valid" | "session_ended" | "expired" | "revocations_stale" | "revoked" | "proof_required";

/** Why a feed is refused; the list is then as it was. */
export type FeedReason =
  | "malformed" | "wrong_type" | "unknown_key" | "bad_signature" | "too_long" | "not_yet_valid" | "expired"
  | "unknown_entry" | "bad_session_key" | "duplicate_session_key" | "shared_key" | "no_session_keys"
  | "too_many_session_keys" | "parts_disagree" | "duplicate_part" | "missing_parts"
  | "backwards" | "gap" | "older";

/** A token or a feed that is refused. What is wrong with the configuration is a TypeError instead. */
export class Rejection<R extends Reason | FeedReason = Reason | FeedReason> extends Error {
  private constructor(reason: R, detail?: string);
  readonly verdict: "refused";
  readonly reason: R;
  /** For logs: the rule that is broken, the kind of entry that revoked. May change. */
  readonly detail?: string;
}

/** Application claims as JSON; integers that no number holds exactly are bigints. */
export type Json = null | boolean | number | bigint | string | Json[] | { [key: string]: Json };

/** A session as everywhere in hallpass: ids in lowercase hex, times as RFC 3339 in UTC. */
export interface Session<Claims = Json> {
  subject: string;
  session_id: string;
  token_id: string;
  audience: string | null;
  issued_at: string;
  expires_at: string;
  started_at: string;
  ends_at: string;
  auth_time: string;
  /** How the user authenticated (RFC 8176), like `pwd`. */
  amr: string[];
  /** A bigint from 2^53 on. */
  generation: number | bigint;
  /** Not checked to be of this type. Byte strings are lowercase hex. */
  claims: Claims;
}

export interface Jwk {
  kty: string;
  crv?: string;
  x?: string;
  kid?: string;
  alg?: string;
  use?: string;
  key_ops?: string[];
}

/** Public keys to trust: at least one, no two of one kid. */
export class KeySet {
  private constructor();
  /** Reads a COSE Key Set: /.well-known/hallpass/keys, or `hallpass key export`. */
  static fromCose(bytes: Uint8Array): Promise<KeySet>;
  /** Reads a JWKS that is parsed: /.well-known/jwks.json. */
  static fromJwks(jwks: { keys: Jwk[] }): Promise<KeySet>;
}

/** What is revoked and which session keys there are, as the feed applied last says. */
export class RevocationList {
  /** How far it has followed the feed; null before the first. */
  readonly position: { epoch: number | bigint; sequence: number | bigint } | null;
  /** When the feed applied last was signed, in seconds since 1970. */
  readonly asOf: number | null;
  /** A token's max age at the issuer, in seconds; 900 for a feed that does not state it. */
  readonly tokenMaxAge: number;
  /** The session keys of the feed. */
  readonly keys: KeySet | null;
  /**
   * Applies all parts of one feed, a body of `GET /revocations`, or throws a Rejection and is as it was.
   * `now` is in seconds since 1970, by default the machine's time.
   */
  applyFeed(bytes: Uint8Array, feedKeys: KeySet, now?: number): Promise<void>;
}

export interface VerifierOptions {
  /** Session keys. Left out, those of the feed; pinned ones stay, whatever the feed says. */
  keys?: KeySet;
  /** The list to ask, or false: log-outs need not be known here before the token expires. */
  revocations: RevocationList | false;
  /** Admits tokens for this audience only; without it, only tokens that name none. The same for `issuer`. */
  audience?: string | null;
  issuer?: string | null;
  /** Clock skew to forgive, in seconds: 5 unless said otherwise, at most 60. */
  leeway?: number;
  /** How old the list may be, in seconds; then everything is refused. By default a token's max age, as the feed states it, at least 30; else 900. */
  staleAfter?: number;
}

/** Verifies and admits tokens with public keys alone. */
export class Verifier {
  constructor(options: VerifierOptions);
  /**
   * Throws a Rejection for a token that is not accepted. `now` is in seconds since 1970, by default
   * the machine's time. A session that is bound to a client's key is refused: proofs are not checked.
   */
  verify<Claims = Json>(token: string, now?: number): Promise<{ verdict: "accepted"; session: Session<Claims> }>;
}
