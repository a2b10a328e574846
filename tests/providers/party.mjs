// A relying party on a certified library (openid-client), for the tests: one JSON request a line, one JSON answer a line.
// It also listens for logout tokens, and checks them with `jose` against the provider's published keys.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { createRemoteJWKSet, jwtVerify } from "jose";
import * as client from "openid-client";

const EVENT = "http://schemas.openid.net/event/backchannel-logout";
const apps = {}; // name → { config, redirect_uri, going: { state → { verifier, nonce, max_age } }, tokens }
const heard = [];
let refuse = 0; // how many logout tokens to answer with 500 first

const acts = {
  async discover({ app, issuer, client_id, secret, how, redirect_uri }) {
    const proof = { basic: client.ClientSecretBasic, post: client.ClientSecretPost, none: client.None }[how];
    const config = await client.discovery(new URL(issuer), client_id, secret ?? undefined, proof(secret), { execute: [client.allowInsecureRequests] });
    apps[app] = { config, redirect_uri, going: {} };
    return config.serverMetadata();
  },
  async url({ app, scope, more }) {
    const one = apps[app];
    const verifier = client.randomPKCECodeVerifier(), state = client.randomState(), nonce = client.randomNonce();
    one.going[state] = { verifier, nonce, max_age: more?.max_age };
    return client.buildAuthorizationUrl(one.config, {
      redirect_uri: one.redirect_uri, scope, state, nonce, code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256", ...more,
    }).href;
  },
  async callback({ app, url, verifier }) {
    const one = apps[app], current = new URL(url), state = current.searchParams.get("state"), kept = one.going[state];
    const tokens = await client.authorizationCodeGrant(one.config, current, {
      pkceCodeVerifier: verifier ?? kept.verifier, expectedState: state, expectedNonce: kept.nonce, maxAge: kept.max_age === undefined ? undefined : Number(kept.max_age),
      idTokenExpected: true,
    });
    return { ...tokens, claims: tokens.claims() };
  },
  async userinfo({ app, token, sub }) { return client.fetchUserInfo(apps[app].config, token, sub); },
  async refresh({ app, token, more }) { return client.refreshTokenGrant(apps[app].config, token, more); },
  async introspect({ app, token }) { return client.tokenIntrospection(apps[app].config, token); },
  async revoke({ app, token }) { await client.tokenRevocation(apps[app].config, token); return null; },
  async end({ app, id_token, after }) {
    return client.buildEndSessionUrl(apps[app].config, { id_token_hint: id_token, post_logout_redirect_uri: after, state: "bye" }).href;
  },
  async heard() { return heard.splice(0); },
  async refuse({ count }) { refuse = count; return null; },
};

createServer((request, response) => {
  if (request.method === "GET") { response.writeHead(200, { "Content-Type": "text/plain" }).end("the app"); return; } // where browsers come back
  let body = "";
  request.on("data", (part) => { body += part; }).on("end", async () => {
    try {
      if (refuse > 0) { refuse -= 1; response.writeHead(500).end(); return; }
      const app = apps[request.url.slice(1)], { issuer, jwks_uri } = app.config.serverMetadata();
      const { payload, protectedHeader } = await jwtVerify(new URLSearchParams(body).get("logout_token"), createRemoteJWKSet(new URL(jwks_uri)), {
        issuer, audience: app.config.clientMetadata().client_id, typ: "logout+jwt", requiredClaims: ["iat", "exp", "jti", "sid", "sub"],
      });
      if (payload.nonce || !payload.events?.[EVENT] || protectedHeader.alg !== "RS256") throw new Error("no logout token");
      heard.push({ app: request.url.slice(1), ...payload });
      response.writeHead(200, { "Cache-Control": "no-store" }).end();
    } catch (error) {
      heard.push({ error: String(error) });
      response.writeHead(400).end();
    }
  });
}).listen(Number(process.env.PARTY_PORT), "127.0.0.1", () => console.log(JSON.stringify("ready")));

for await (const line of createInterface({ input: process.stdin })) {
  const { act, ...said } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ ok: await acts[act](said) }));
  } catch (error) {
    console.log(JSON.stringify({ error: error.error ?? error.code ?? String(error), message: String(error.error_description ?? error.message), status: error.status }));
  }
}
