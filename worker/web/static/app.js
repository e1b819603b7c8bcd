/* Phin → ConnectWise: what the pages add to HTML and htmx. Without it all pages work, by forms. */
(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const say = (text) => { document.getElementById("status").textContent = text; };

  /* Live parts: data-live names the events, data-part the part to ask for anew. Polling stands in for events. */
  const POLL = 2000;
  const isBusy = (part) => {
    const at = document.activeElement;
    const types = at && part.contains(at) && at.matches("input:not([type=checkbox],[type=radio]), textarea, select");
    const picked = getSelection();
    return types || (picked && !picked.isCollapsed && part.contains(picked.anchorNode));
  };
  const follow = (part) => {
    let source = null, timer = 0, isOver = false, isDue = false;
    const refresh = async () => {
      if (isBusy(part)) { isDue = true; return; }
      isDue = false;
      await htmx.ajax("GET", part.dataset.part, {source: part, target: part, swap: "innerMorph"});
      if (part.querySelector("[data-over]")) { isOver = true; stop(); }
    };
    const stop = () => { if (source) source.close(); clearInterval(timer); };
    const poll = () => { if (!isOver && !timer) timer = setInterval(refresh, POLL); };
    const catchUp = () => { if (isDue) setTimeout(refresh, 50); };
    part.addEventListener("focusout", catchUp);
    document.addEventListener("selectionchange", () => { if (isDue && !isBusy(part)) refresh(); });
    if (!window.EventSource) { poll(); return; }
    source = new EventSource(part.dataset.live);
    source.addEventListener("change", refresh);
    source.addEventListener("end", () => { isOver = true; stop(); refresh(); });
    source.addEventListener("error", () => { if (source.readyState === EventSource.CLOSED) poll(); });
    addEventListener("pagehide", stop);
  };

  const start = () => {
    all("[data-live]").forEach(follow);
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start); else start();
})();
