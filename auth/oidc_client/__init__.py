"""OpenID Connect client: sign-in with providers of the operator (unified portal) and of a business (its own portal).

models.py           rows: connections of businesses, logins by (issuer, subject), states, used logout tokens
provider_config.py  configuration of a provider, from settings or from a business's row
discovery.py        provider metadata and keys, fetched by the outgoing client and cached for an hour
claims.py           validation of ID tokens and logout tokens
flow.py             authorization code flow: state row, redirect, callback
exchange.py         stores the result of the token request for the waiting page
account_linking.py  from validated claims to a session of a person, by design §5 and safety 6
business_sign_in.py from validated claims to a customer of a business
connections.py      change, test and remove a business's connection
connection_test.py  the result page of a connection test
logout.py           logout in both directions
unlink.py           a person's own provider logins
error_messages.py   messages for error codes
views.py            the pages
"""
