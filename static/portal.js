// Every page works without this file. It adds: copying, and menus that close on Escape or a click elsewhere.
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    if (!source) return;
    await navigator.clipboard.writeText(source.value ?? source.textContent.trim());
    const confirmation = button.querySelector("[data-copied]");
    if (confirmation) {
      confirmation.textContent = confirmation.dataset.copied;
    }
  });
}

// Select the whole link when its field gets the focus.
for (const field of document.querySelectorAll("[data-select]")) field.addEventListener("focus", () => field.select());

const openMenus = () => document.querySelectorAll("details.menu[open]");
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of openMenus()) {
    menu.open = false;
    if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
  }
});
document.addEventListener("click", (event) => {
  for (const menu of openMenus()) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
