"""Signing in with somebody else's proof: OpenID Connect providers of the operator (unified door) and of a business (its own door).

    models.py     rows: a business's connection, logins by (issuer, subject), states, used logout tokens
    parties.py    what a sign-in needs to know of a provider, from settings or from a business's row
    discovery.py  the provider's metadata and keys, fetched by the one outgoing client and kept for an hour
    claims.py     ID tokens and logout tokens, checked
    flow.py       code flow: a state row, the way out, the way back
    joining.py    from checked claims to a session, by the rules of design §5 and safety 6
    connections.py  a business's connection: changed, tested, removed
    ending.py     logout: theirs ends ours
    views.py      the pages
"""
