// Passkeys: get options from the server and a credential from the authenticator, then submit the form with it.
// Without this file, or without passkey support in the browser, the forms stay hidden and people sign in by email.
"use strict";

const toBytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const toText = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

const readOptions = (options) => ({
  ...options,
  challenge: toBytes(options.challenge),
  ...(options.user && { user: { ...options.user, id: toBytes(options.user.id) } }),
  ...(options.excludeCredentials && { excludeCredentials: options.excludeCredentials.map((item) => ({ ...item, id: toBytes(item.id) })) }),
  ...(options.allowCredentials && { allowCredentials: options.allowCredentials.map((item) => ({ ...item, id: toBytes(item.id) })) }),
});

const writeCredential = ({ id, rawId, type, response, authenticatorAttachment }) => {
  const encoded = { clientDataJSON: toText(response.clientDataJSON) };
  for (const part of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (response[part]) encoded[part] = toText(response[part]);
  }
  return JSON.stringify({ id, rawId: toText(rawId), type, response: encoded, authenticatorAttachment, clientExtensionResults: {} });
};

for (const form of window.PublicKeyCredential ? document.querySelectorAll("form[data-passkey]") : []) {
  form.hidden = false;
  for (const instead of document.querySelectorAll("[data-no-passkeys]")) instead.hidden = true;
  form.addEventListener("submit", async (event) => {
    if (form.elements.credential.value) return;
    event.preventDefault();
    const status = form.querySelector("[role=status]");
    status.textContent = "";
    try {
      const answer = await fetch(form.action + "/options", {
        method: "POST",
        headers: { "X-CSRFToken": form.elements.csrf_token.value },
      });
      if (!answer.ok) throw new Error(answer.status);
      const publicKey = readOptions(await answer.json());
      const credential = await navigator.credentials[form.dataset.passkey]({ publicKey });
      form.elements.credential.value = writeCredential(credential);
      form.submit();
    } catch {
      status.textContent = status.dataset.failed;
    }
  });
}
