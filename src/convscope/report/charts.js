"use strict";
// Values under the pointer in the charts; the arrow keys walk along them.
(() => {
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  tip.setAttribute("role", "status");
  document.body.append(tip);

  const show = (hit) => {
    tip.textContent = hit.dataset.tip;
    tip.hidden = false;
    const box = hit.getBoundingClientRect();
    const left = box.left + box.width / 2 - tip.offsetWidth / 2;
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = `${Math.max(8, Math.min(left, room)) + window.scrollX}px`;
    tip.style.top = `${box.top + window.scrollY - tip.offsetHeight - 4}px`;
    hit.classList.add("at");
  };
  const hide = () => {
    tip.hidden = true;
    document.querySelectorAll(".hit.at").forEach((hit) => hit.classList.remove("at"));
  };

  for (const hit of document.querySelectorAll(".hit")) {
    // The browser's own tooltip is the one for readers without JavaScript.
    hit.querySelector("title").remove();
    hit.addEventListener("pointerenter", () => { hide(); show(hit); });
    hit.addEventListener("pointerleave", hide);
  }
  for (const svg of document.querySelectorAll(".chart > svg")) {
    const hits = [...svg.querySelectorAll(".hit")];
    if (!hits.length) continue;
    svg.tabIndex = 0;
    svg.setAttribute("aria-label", `${svg.getAttribute("aria-label")} Arrow keys tell the values.`);
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step) return;
      const at = hits.findIndex((hit) => hit.classList.contains("at"));
      const next = at < 0 ? (step > 0 ? 0 : hits.length - 1) : at + step;
      hide();
      show(hits[Math.max(0, Math.min(hits.length - 1, next))]);
      event.preventDefault();
    });
    svg.addEventListener("blur", hide);
  }
})();
