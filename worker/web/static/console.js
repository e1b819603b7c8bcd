/* The console: choosing letters of a page, and going from one letter to the next. Without it forms and links do both. */
(() => {
  "use strict";
  const areOn = () => { try { return !localStorage.getItem("phin-keys-off"); } catch { return true; } };
  const isForKeys = (event) =>
    !event.ctrlKey && !event.metaKey && !event.altKey && areOn()
    && (!event.target.closest("input, textarea, select, dialog") || event.target.matches("[data-choose]"));
  const all = document.querySelector("[data-choose-all]");
  const boxes = [...document.querySelectorAll("[data-choose]")];
  const told = document.querySelector("[data-chosen-count]");
  if (all && told) {
    const count = () => {
      const chosen = boxes.filter((box) => box.checked).length;
      told.textContent = `${chosen} chosen on this page:`;
      all.checked = chosen === boxes.length;
      all.indeterminate = chosen > 0 && chosen < boxes.length;
    };
    all.hidden = false;
    all.addEventListener("change", () => { boxes.forEach((box) => { box.checked = all.checked; }); count(); });
    boxes.forEach((box) => box.addEventListener("change", count));
    // A browser that goes back keeps what was chosen.
    addEventListener("pageshow", count);
    document.addEventListener("keydown", (event) => {
      const row = document.activeElement.closest("[data-row]");
      if (event.key !== "x" || !row || !isForKeys(event)) return;
      const box = row.querySelector("[data-choose]");
      box.checked = !box.checked;
      count();
    });
    count();
  }
  const neighbours = {j: document.querySelector("a[rel=next]"), k: document.querySelector("a[rel=prev]")};
  if (!document.querySelector("[data-row]")) {
    document.addEventListener("keydown", (event) => {
      const link = neighbours[event.key];
      if (link && isForKeys(event)) link.click();
    });
  }
})();
