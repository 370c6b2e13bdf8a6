// Compiled, never run: the types say what the module does.
import { KeySet, Rejection, RevocationList, Verifier } from "../hallpass.js";
import type { Reason, Session } from "../hallpass.js";

interface Mine { roles: string[] }

export async function use(bytes: Uint8Array, token: string): Promise<Session<Mine> | Reason> {
  const [keys, feedKeys] = [await KeySet.fromCose(bytes), await KeySet.fromJwks({ keys: [{ kty: "OKP" }] })];
  const revocations = new RevocationList();
  await revocations.applyFeed(bytes, feedKeys, 1_800_000_000);
  const epoch: number | bigint | undefined = revocations.position?.epoch;
  new Verifier({ keys, revocations: false, audience: null, issuer: "idp", leeway: 60 });
  const verifier = new Verifier({ revocations, staleAfter: Number(epoch) });
  try {
    const { session } = await verifier.verify<Mine>(token);
    return session.claims.roles.length > 0 ? session : "revoked";
  } catch (error) {
    if (error instanceof Rejection) return error.reason as Reason;
    throw error;
  }
}

// @ts-expect-error: where revocations come from must be said
new Verifier({ keys: null as unknown as KeySet });
// @ts-expect-error: nobody makes a key set but from published keys
new KeySet([]);
// @ts-expect-error: nor a rejection
new Rejection("expired");
// @ts-expect-error: bytes, not text
void new RevocationList().applyFeed("feed", null as unknown as KeySet);
