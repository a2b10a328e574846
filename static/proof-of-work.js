// Computes the proof of work of the sign-in form while the visitor types. Without it the form works with a shared rate limit.
"use strict";

const field = document.querySelector("input[name=work][data-challenge]");

const solve = async ({ challenge, salt, signature, algorithm, maxnumber }) => {
  const began = performance.now();
  const text = new TextEncoder();
  for (let number = 0; number <= maxnumber; number++) {
    const sum = new Uint8Array(await crypto.subtle.digest(algorithm, text.encode(salt + number)));
    let hex = "";
    for (const byte of sum) hex += byte.toString(16).padStart(2, "0");
    if (hex === challenge) {
      return btoa(JSON.stringify({ algorithm, challenge, number, salt, signature, took: Math.round(performance.now() - began) }));
    }
  }
  return "";
};

if (field && window.crypto?.subtle) {
  const form = field.form;
  let work;
  const begin = () => (work ??= solve(JSON.parse(field.dataset.challenge)).then((solved) => { field.value = solved; }));
  form.addEventListener("focusin", begin, { once: true });
  form.addEventListener("submit", async (event) => {
    if (field.value) return;
    event.preventDefault();
    const pressed = form.querySelector("button");
    pressed.setAttribute("aria-busy", "true");
    await Promise.race([begin(), new Promise((done) => setTimeout(done, 4000))]);
    form.submit();
  });
}
