// A certified OpenID provider for the tests. PROVIDER (JSON): port, clients, people, kid; every start has a new key pair.
// One signs in as a subject; the password is anything. The file `people` (JSON) says what is known of each.
import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import Provider from "oidc-provider";

const said = JSON.parse(process.env.PROVIDER);
const issuer = `http://127.0.0.1:${said.port}`;
const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const jwk = { ...privateKey.export({ format: "jwk" }), use: "sig", alg: "RS256", kid: said.kid };

const provider = new Provider(issuer, {
  clients: said.clients,
  jwks: { keys: [jwk] },
  cookies: { keys: ["a test's cookies"] },
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
  conformIdTokenClaims: said.conform ?? false,
  features: {
    devInteractions: { enabled: true },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: { enabled: true },
  },
  fetch: (url, { dispatcher, ...options }) => fetch(url, options), // its own refuses addresses of this machine
  pkce: { required: () => true },
  async findAccount(_ctx, id) {
    const { name, ...address } = JSON.parse(readFileSync(said.people))[id] ?? {};
    return { accountId: id, claims: () => ({ sub: id, name: name ?? id, ...address }) };
  },
});
const errors = (ctx, error) => console.error(ctx?.path, error.error, error.error_description ?? error);
for (const name of ["authorization.error", "grant.error", "server_error", "backchannel.error"]) provider.on(name, errors);
provider.listen(said.port, "127.0.0.1", () => console.log("ready"));
