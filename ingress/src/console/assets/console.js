// Live parts and selections. Every page works without this module.

// The part is rendered and escaped by the server; open details stay open.
function show(part, html) {
  const open = [...part.querySelectorAll("details[open]")].map((details) => details.id);
  const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
  part.innerHTML = html;
  for (const id of open) if (id) part.querySelector(`#${CSS.escape(id)}`)?.setAttribute("open", "");
  ticks(part);
  if (focused) part.querySelector(`#${CSS.escape(focused)}`)?.focus();
}

// What was ticked off stays so in this browser.
function ticks(root) {
  for (const box of root.querySelectorAll("[data-tick]")) {
    const key = `${location.pathname} ${box.dataset.tick}`;
    box.checked = localStorage.getItem(key) === "1";
    box.addEventListener("change", () => {
      if (box.checked) localStorage.setItem(key, "1"); else localStorage.removeItem(key);
    });
  }
}
ticks(document);

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "Copied";
  });
}

for (const part of document.querySelectorAll("[data-live]")) {
  const state = document.querySelector("[data-live-state]");
  const say = (text) => { if (state) state.textContent = text; };
  const source = new EventSource(part.dataset.live);
  source.addEventListener("open", () => say("Live"));
  source.addEventListener("part", (event) => show(part, event.data));
  source.addEventListener("over", () => { source.close(); say("Ended"); });
  source.addEventListener("error", () => {
    say(source.readyState === EventSource.CLOSED ? "Not live: reload the page" : "Connecting");
  });
}

for (const all of document.querySelectorAll("[data-select-all]")) {
  all.hidden = false;
  all.addEventListener("change", () => {
    for (const box of all.closest("form").querySelectorAll("input[name=id]")) box.checked = all.checked;
  });
}
