// A job as a card that follows it: how far it is, what it says, stop, go on.
import { button, make, percent, post, told, trying } from "./common.js";
import { active, follow, refresh } from "./state.js";

const WORDS = { waiting: "waiting", running: "running", done: "done", failed: "failed", cancelled: "cancelled", stopped: "stopped when convscope app ended" };

// Returns the card, and what ends its following.
export function jobCard(first, then = () => {}) {
  const bar = make("progress", { "aria-label": first.title });
  const what = make("p", { class: "aside" });
  const lines = make("ul", { class: "lines", tabindex: "0", "aria-label": "What it says" });
  const error = make("p", { class: "error" });
  const status = make("span", { class: "badge" });
  const stop = button("Cancel", trying(async () => { await post(`/api/jobs/${first.id}/cancel`); await refresh(); }));
  const on = button("Go on", trying(async () => { await post(`/api/jobs/${first.id}/resume`); await refresh(); }));
  const row = make("div", { class: "row" }, stop, on);
  const card = make("div", { class: "card job" }, make("h3", {}, status, " ", first.title), bar, what, error, lines, row);
  let before = null;
  const show = (job) => {
    status.textContent = job.status;
    const inner = job.bars[job.bars.length - 1];
    bar.hidden = job.status !== "running";
    if (job.status === "running" && inner) { bar.max = inner.total || 1; bar.value = inner.done; } else bar.removeAttribute("value");
    what.textContent = job.status === "waiting" ? (job.ahead ? `${job.ahead} before it` : "starts at once")
      : job.status === "running" ? (inner ? `${inner.what} (${percent(inner.done / (inner.total || 1))})` : "working …") : "";
    error.textContent = job.error || "";
    const said = job.lines.join("\n");
    if (lines.dataset.said !== said) {
      lines.dataset.said = said;
      lines.replaceChildren(...job.lines.map((line) => make("li", {}, line)));
      lines.scrollTop = lines.scrollHeight;
    }
    lines.hidden = !job.lines.length || job.status === "done";
    stop.hidden = !active(job);
    on.hidden = !["cancelled", "stopped"].includes(job.status);
    row.hidden = stop.hidden && on.hidden;
    if (before !== null && before !== job.status) {
      told(`${job.title}: ${WORDS[job.status]}`);
      then(job);
    }
    before = job.status;
  };
  show(first);
  const end = follow((state) => {
    const job = state.jobs.find((one) => one.id === first.id);
    if (job) show(job);
  });
  return [card, end];
}
