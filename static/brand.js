// The brand page works without this file. It adds a color picker beside the accent, and live previews.
"use strict";

for (const form of document.querySelectorAll("form[data-previews]")) {
  const frames = document.querySelectorAll("iframe[data-preview]");
  const picker = form.querySelector("[data-picks]");
  const accent = form.elements.accent;
  let timer = 0;

  const show = () => {
    for (const frame of frames) {
      const address = new URL(frame.src);
      for (const name of ["accent", "radius", "font", "mode"]) address.searchParams.set(name, form.elements[name].value);
      frame.contentWindow.location.replace(address);
    }
  };
  for (const frame of document.querySelectorAll("iframe[data-preview=fit]")) {
    const fit = () => { frame.style.blockSize = `${frame.contentDocument.body.offsetHeight + 8}px`; };
    frame.addEventListener("load", fit);
    if (frame.contentDocument && frame.contentDocument.readyState === "complete") fit();
  }
  picker.hidden = false;
  picker.addEventListener("input", () => { accent.value = picker.value; });
  accent.addEventListener("input", () => { if (/^#[0-9a-f]{6}$/i.test(accent.value)) picker.value = accent.value; });
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(show, 200);
  });
}
