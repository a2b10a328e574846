// The brand page works without this file. It adds: a colour picker beside the accent, and a preview that follows what is typed.
"use strict";

for (const form of document.querySelectorAll("form[data-preview]")) {
  const frame = document.getElementById(form.dataset.preview);
  const picker = form.querySelector("[data-picks]");
  const accent = form.elements.accent;
  let timer = 0;

  const show = () => {
    const asked = new URLSearchParams();
    for (const name of ["accent", "radius", "font", "mode"]) asked.set(name, form.elements[name].value);
    const address = new URL(frame.src);
    address.search = asked.toString();
    frame.contentWindow.location.replace(address);
  };
  const fit = () => { frame.style.blockSize = `${frame.contentDocument.body.offsetHeight + 8}px`; };
  frame.addEventListener("load", fit);
  if (frame.contentDocument && frame.contentDocument.readyState === "complete") fit();
  picker.hidden = false;
  picker.addEventListener("input", () => { accent.value = picker.value; });
  accent.addEventListener("input", () => { if (/^#[0-9a-f]{6}$/i.test(accent.value)) picker.value = accent.value; });
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(show, 200);
  });
}
