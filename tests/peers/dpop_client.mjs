// A DPoP client (RFC 9449) made of libraries that nobody here wrote.
//
//   node dpop_client.mjs dpop|jose ES256|EdDSA|Ed25519
//
// Makes a key, then answers each line {"htm","htu","nonce"?,"token"?} of its
// input with a proof on a line.
import { createHash, randomUUID } from 'node:crypto'
import { createInterface } from 'node:readline'

const [library, alg] = process.argv.slice(2)

async function withDpop() {
  const { generateKeyPair, generateProof } = await import('dpop')
  const keys = await generateKeyPair(alg, { extractable: false })
  return ({ htm, htu, nonce, token }) => generateProof(keys, htu, htm, nonce, token)
}

async function withJose() {
  const { SignJWT, exportJWK, generateKeyPair } = await import('jose')
  const keys = await generateKeyPair(alg, { extractable: true })
  const { kty, crv, x, y } = await exportJWK(keys.publicKey)
  return ({ htm, htu, nonce, token }) => {
    const ath = token && createHash('sha256').update(token).digest('base64url')
    return new SignJWT({ jti: randomUUID(), htm, htu, nonce, ath })
      .setIssuedAt()
      .setProtectedHeader({ typ: 'dpop+jwt', alg, jwk: { kty, crv, x, y } })
      .sign(keys.privateKey)
  }
}

const prove = await { dpop: withDpop, jose: withJose }[library]()
for await (const line of createInterface({ input: process.stdin })) {
  console.log(await prove(JSON.parse(line)))
}
