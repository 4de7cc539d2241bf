"""Key-pair login as Snowflake has it: the token must be signed by the key whose public half the user was given by `ALTER USER … SET RSA_PUBLIC_KEY`."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import load_der_public_key

from .statements import identifiers

_GIVEN = re.compile(
    r"(?:CREATE|ALTER)\s+USER\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?(\S+)\s.*\bRSA_PUBLIC_KEY\s*=\s*'([^']*)'", re.IGNORECASE | re.DOTALL
)


def refused(login: dict[str, Any], users: Iterable[str]) -> bool:
    """Return whether a login by a token is refused; `users` are the statements about users, oldest first. A password is not looked at."""
    if login.get("AUTHENTICATOR") != "SNOWFLAKE_JWT":
        return False
    user = str(login["LOGIN_NAME"]).upper()
    given = [found[2] for found in map(_GIVEN.match, users) if found and identifiers(found[1])[0].upper() == user]
    if not given:
        return True
    der = base64.b64decode("".join(given[-1].split()))
    try:
        claims = jwt.decode(login["TOKEN"], load_der_public_key(der), algorithms=["RS256"], leeway=60)  # type: ignore[arg-type]
    except jwt.InvalidTokenError:
        return True
    print_ = base64.b64encode(sha256(der).digest()).decode()
    return not str(claims["iss"]).endswith(f".{user}.SHA256:{print_}")
