/* Phin → ConnectWise: what the pages add to HTML and htmx. Without it all pages work, by forms. */
(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const say = (text) => { document.getElementById("status").textContent = text; };
  const formToken = () => document.querySelector("input[name=form_token]").value;
  const here = (path) => {
    const now = new URLSearchParams(location.search), kept = new URLSearchParams();
    for (const name of ["partner", "period"]) if (now.get(name)) kept.set(name, now.get(name));
    return `${path}?${kept}`;
  };

  let open = null; // the input whose list of choices is open

  /* Live parts: data-live names the events, data-part the part to ask for anew. Polling stands in for events. */
  const POLL = 2000;
  const isBusy = (part) => {
    const at = document.activeElement;
    const inside = at && part.contains(at);
    const types = open || inside && at.matches("input, textarea, select") && !at.matches("[type=checkbox], [type=radio]")
      && (at.value !== at.defaultValue || at.getAttribute("aria-expanded") === "true");
    const ticked = part.querySelector("input[type=checkbox]:checked");
    const picked = getSelection();
    return types || ticked || (picked && !picked.isCollapsed && part.contains(picked.anchorNode));
  };
  const follow = (part) => {
    let source = null, timer = 0, isDue = false, runs = false, said = "";
    const refresh = async () => {
      if (runs || isBusy(part)) { isDue = true; return; }
      isDue = false; runs = true;
      try {
        await htmx.ajax("GET", part.dataset.part, {source: part, target: part, swap: "innerMorph"});
      } finally { runs = false; }
      const told = part.querySelector("[data-announce]");
      if (told && told.textContent !== said) { said = told.textContent; say(said); }
      if (part.querySelector("[data-over]")) stop();
      else if (isDue) refresh();
    };
    const stop = () => { if (source) source.close(); clearInterval(timer); };
    const poll = () => { timer = timer || setInterval(refresh, POLL); };
    const catchUp = () => setTimeout(() => { if (isDue && !isBusy(part)) refresh(); }, 50);
    // Somebody may have begun to type while the answer was on its way.
    part.addEventListener("htmx:before:swap", (event) => {
      if (event.target === part && isBusy(part)) { isDue = true; event.preventDefault(); }
    });
    part.addEventListener("focusout", catchUp);
    part.addEventListener("change", catchUp);
    document.addEventListener("selectionchange", catchUp);
    addEventListener("pagehide", stop);
    if (!window.EventSource) { poll(); return; }
    source = new EventSource(part.dataset.live);
    source.addEventListener("change", refresh);
    source.addEventListener("end", () => { source.close(); isDue = true; catchUp(); });
    source.addEventListener("error", () => { if (source.readyState === EventSource.CLOSED) poll(); });
  };

  /* One list for all drop-downs, after the WAI-ARIA combobox pattern (list autocomplete, manual selection). */
  const list = document.createElement("ul");
  list.id = "choices"; list.setAttribute("role", "listbox"); list.hidden = true;
  let asked = 0, wait = 0;
  let unsaved = null; // the choice that was not saved: row, kind, text
  const tellUnsaved = () => {
    for (const told of all("[data-unsaved]")) told.remove();
    const combo = unsaved && document.querySelector(`#${unsaved.row} [data-kind=${unsaved.kind}]`);
    if (!combo) return;
    const told = document.createElement("span");
    told.className = "small bad-text"; told.dataset.unsaved = ""; told.textContent = unsaved.text;
    combo.append(told);
  };
  document.addEventListener("htmx:after:swap", tellUnsaved);
  const options = () => all("[role=option]", list);
  const current = () => list.querySelector("[aria-selected=true]");
  const mark = (option) => {
    for (const one of options()) one.setAttribute("aria-selected", String(one === option));
    if (open) {
      if (option) { open.setAttribute("aria-activedescendant", option.id); option.scrollIntoView({block: "nearest"}); }
      else open.removeAttribute("aria-activedescendant");
    }
  };
  const close = (keep) => {
    if (!open) return;
    const input = open;
    open = null; asked += 1; clearTimeout(wait);
    list.hidden = true; list.replaceChildren();
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-controls"); input.removeAttribute("aria-activedescendant");
    if (!keep) input.value = input.defaultValue;
  };
  const ask = async (question) => {
    const input = open, combo = input.parentElement, mine = asked += 1;
    const typed = input.value === input.defaultValue ? "" : input.value;
    const body = new URLSearchParams({form_token: formToken(), kind: combo.dataset.kind, parent: combo.dataset.parent,
      search: typed, question: question || ""});
    let text;
    try {
      const answer = await fetch(here("/portal/choices"), {method: "POST", body, headers: {"HX-Request": "true"}});
      text = await answer.text();
      if (answer.headers.get("HX-Redirect")) { location.href = answer.headers.get("HX-Redirect"); return; }
    } catch { text = '<li class="said" role="presentation">The pages do not answer. Try again.</li>'; }
    if (mine !== asked || open !== input) return;
    list.innerHTML = text;
    const waits = list.querySelector("[data-question]");
    if (waits) wait = setTimeout(() => { if (open === input) ask(waits.dataset.question); }, 300);
    const found = options();
    say(waits ? "Reading from ConnectWise" : found.length ? `${found.length} choices` : list.textContent.trim());
    if (typed && found.length) mark(found[0]);
  };
  const show = (input) => {
    if (open === input || input.disabled) return;
    close();
    unsaved = null; tellUnsaved();
    open = input;
    input.parentElement.append(list);
    list.setAttribute("aria-label", input.getAttribute("aria-label"));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true"); input.setAttribute("aria-controls", "choices");
    list.innerHTML = '<li class="said" role="presentation">…</li>';
    ask();
  };
  const next = (row, kind) => {
    const order = ["companies", "agreements", "additions"];
    const after = order.slice(order.indexOf(kind) + 1).map((one) => row.querySelector(`[data-kind=${one}] input:not(:disabled)`));
    return after.find((one) => one && !one.value) || row.querySelector(`[data-kind=${kind}] input`);
  };
  document.addEventListener("htmx:before:swap", (event) => { if (open && event.target.contains(open) && event.target.matches("tr")) close(); });
  /* A choice that the pages have not taken: the row is read anew, and says so beside the field until the next choice. */
  const notSaved = async (input, name) => {
    const part = input.closest("[data-part]");
    unsaved = {row: input.closest("tr").id, kind: input.parentElement.dataset.kind, text: `✗ Not saved: ${name}. Choose it again.`};
    input.value = input.defaultValue;
    say(unsaved.text);
    tellUnsaved();
    try {
      if (part) await htmx.ajax("GET", part.dataset.part, {source: part, target: part, swap: "innerMorph"});
    } catch { /* it stays as it is */ }
    tellUnsaved();
  };
  const choose = async (option) => {
    const combo = open.parentElement, row = combo.closest("tr"), kind = combo.dataset.kind, id = row.id;
    const values = {form_token: formToken(), company: combo.dataset.company, kind, parent: combo.dataset.parent,
      id: option.dataset.id, name: option.dataset.name};
    const input = open;
    input.value = option.dataset.name;
    close(true);
    try {
      await htmx.ajax("POST", here("/portal/map"), {source: row, target: row, swap: "outerHTML", values});
    } catch { /* the row is still the old one */ }
    const fresh = document.getElementById(id);
    if (!fresh) return;
    if (fresh === row) { await notSaved(input, values.name); input.focus(); return; }
    if (fresh.querySelector("[data-saved]")) say(`Saved: ${values.name}`);
    // Whoever has gone on meanwhile is not called back.
    const at = document.activeElement;
    if (!at || at === document.body || fresh.contains(at)) next(fresh, kind).focus();
  };
  const onKey = (event) => {
    const input = event.target;
    if (!input.matches || !input.matches(".combo > input")) return;
    const found = options(), at = found.indexOf(current());
    switch (event.key) {
      case "ArrowDown": case "ArrowUp": {
        event.preventDefault();
        if (open !== input) { show(input); return; }
        const step = event.key === "ArrowDown" ? 1 : -1;
        if (found.length) mark(found[(at + step + found.length + (at < 0 && step < 0 ? 1 : 0)) % found.length]);
        return;
      }
      case "Enter":
        event.preventDefault();
        if (open !== input) show(input); else if (current()) choose(current());
        return;
      case "Escape": if (open === input) { event.stopPropagation(); close(); } return;
      case "Tab": close(); return;
    }
  };
  document.addEventListener("keydown", onKey);
  document.addEventListener("input", (event) => {
    if (!event.target.matches(".combo > input")) return;
    if (open !== event.target) { show(event.target); return; }
    clearTimeout(wait); wait = setTimeout(() => { if (open) ask(); }, 120);
  });
  document.addEventListener("mousedown", (event) => {
    const option = event.target.closest(".combo [role=option]");
    if (option) { event.preventDefault(); choose(option); return; }
    if (event.target.closest("#choices")) { event.preventDefault(); return; }
    const input = event.target.closest(".combo > input");
    if (input) { if (open === input) close(); else setTimeout(() => { input.select(); show(input); }); return; }
    close();
  });
  document.addEventListener("focusout", (event) => { if (event.target === open) setTimeout(() => { if (open && document.activeElement !== open) close(); }); });

  /* Accepting suggestions one after the other: the next button has the focus, so Enter goes on. */
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches("form.suggestion")) return;
    const buttons = all("[data-accept]");
    const after = buttons[buttons.indexOf(form.querySelector("[data-accept]")) + 1];
    const row = after && after.closest("tr").id;
    // The row of an accepted one is replaced soon after the answer, or before it by an event; that of a refused one stays.
    let tries = Infinity;
    form.addEventListener("htmx:after:request", () => { tries = 50; }, {once: true});
    const look = setInterval(() => {
      const stays = document.contains(form);
      if (stays && (tries -= 1) > 0) return;
      clearInterval(look);
      if (stays) { say("Not saved"); return; }
      say("Saved");
      const target = row && document.getElementById(row);
      const button = target && target.querySelector("[data-accept]");
      const at = document.activeElement;
      if (button && (!at || at === document.body || !at.matches("input"))) button.focus();
    }, 30);
  }, true);

  /* Keys: never while one types, and they can be switched off. */
  const KEYS = "phin-keys-off";
  const areOn = () => { try { return !localStorage.getItem(KEYS); } catch { return true; } };
  const keys = () => document.getElementById("keys");
  const rows = () => all("[data-row]").filter((row) => row.offsetParent !== null);
  const step = (by) => {
    const found = rows(), at = found.findIndex((row) => row.contains(document.activeElement));
    const row = found[Math.min(Math.max(at + by, 0), found.length - 1)];
    if (!row) return;
    const target = row.querySelector("[data-accept], [data-open], a, button");
    if (target) target.focus();
    row.scrollIntoView({block: "nearest"});
  };
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !areOn()) return;
    if (event.target.closest("input, textarea, select, [contenteditable], dialog")) return;
    const search = document.querySelector("[data-search]");
    if (event.key === "?") keys().showModal();
    else if (event.key === "/" && search) search.focus();
    else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else return;
    event.preventDefault();
  });
  const start = () => {
    all("[data-live]").forEach(follow);
    for (const button of all("[data-keys]")) { button.hidden = false; button.addEventListener("click", () => keys().showModal()); }
    const box = document.getElementById("keys-on");
    box.checked = areOn();
    box.addEventListener("change", () => { try { if (box.checked) localStorage.removeItem(KEYS); else localStorage.setItem(KEYS, "1"); } catch { /* not kept */ } });
    for (const form of all("form[data-import]")) {
      form.querySelector("input[type=file]").addEventListener("change", () => {
        const period = form.elements.period.value.trim();
        // Whatever would replace counts waits for the button; a month can be written by its days too.
        const replaces = period.includes("/") || form.dataset.import.split(" ").includes(period);
        if (!replaces) { if (form.reportValidity()) form.requestSubmit(); return; }
        form.querySelector("button").focus();
        say(`Press Import to replace the counts of ${period}`);
      });
    }
    for (const link of all("[data-again]")) setTimeout(() => { location.replace(link.href); }, 1000);
    for (const button of all("[data-print]")) { button.hidden = false; button.addEventListener("click", () => print()); }
  };
  // A page that the browser has kept, and shows for Back, is of another time: its numbers and its forms are made anew.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start); else start();
})();
