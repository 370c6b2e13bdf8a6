"""Verifies COSE_Sign1 tokens with a Python library.

usage: verify_token.py cwt|pycose

A line of stdin is {"name", "token", "key": JWK}; a line of stdout is
{"name", "claims": {…}} with the claims as hex of their CBOR, or
{"name", "error": "…"}. Only the signature is checked: times and names are the
verifier's business.
"""

import base64
import json
import sys


def unbase64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def with_cwt(token, jwk):
    from cwt import COSE, COSEKey

    alg = {"EdDSA": -8, "Ed25519": -19}[jwk["alg"]]
    key = COSEKey.new({1: 1, 2: bytes.fromhex(jwk["kid"]), 3: alg, -1: 6, -2: unbase64url(jwk["x"])})
    return COSE.new().decode(token, key)


def with_pycose(token, jwk):
    from pycose.keys import OKPKey
    from pycose.messages import Sign1Message

    message = Sign1Message.decode(token)
    message.key = OKPKey(crv="ED25519", x=unbase64url(jwk["x"]))
    if not message.verify_signature():
        raise ValueError("bad signature")
    return message.payload


def main():
    verify = {"cwt": with_cwt, "pycose": with_pycose}[sys.argv[1]]
    for line in sys.stdin:
        question = json.loads(line)
        answer = {"name": question["name"]}
        try:
            answer["claims"] = verify(unbase64url(question["token"]), question["key"]).hex()
        except Exception as error:
            answer["error"] = f"{type(error).__name__}: {error}"
        print(json.dumps(answer), flush=True)


main()
