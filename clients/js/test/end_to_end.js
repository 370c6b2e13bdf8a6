// A session's life, seen from this client: log-in, log-out, and every answer fetched from the issuer.
import { KeySet, Rejection, RevocationList, Verifier } from "../hallpass.js";

/** What the client said of one token, step by step. */
export async function endToEnd(issuer, username, password) {
  const ask = async (path, options) => {
    const answer = await fetch(`${issuer}${path}`, options);
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer;
  };
  const bytes = async (path) => new Uint8Array(await (await ask(path)).arrayBuffer());
  const said = (verifier) => verifier.verify(token).catch((error) => {
    if (error instanceof Rejection) return error;
    throw error;
  });

  const login = await ask("/login", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ username, password, transport: "bearer" }),
  });
  const { token, session } = await login.json();

  const cose = await KeySet.fromCose(await bytes("/.well-known/hallpass/keys"));
  const jwks = await KeySet.fromJwks(await (await ask("/.well-known/jwks.json")).json());
  const feedKeys = await KeySet.fromCose(await bytes("/.well-known/hallpass/feed-keys"));
  const revocations = new RevocationList();
  const steps = [];
  for (const keys of [cose, jwks]) steps.push(await said(new Verifier({ keys, revocations: false })));
  await revocations.applyFeed(await bytes("/revocations"), feedKeys);
  const live = new Verifier({ revocations, staleAfter: 60 });
  steps.push(await said(live));

  await ask("/logout", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
  steps.push(await said(live)); // the log-out is not known here yet
  const { epoch, sequence } = revocations.position;
  await revocations.applyFeed(await bytes(`/revocations?after=${sequence}&epoch=${epoch}`), feedKeys);
  steps.push(await said(live));
  return { session, steps };
}
