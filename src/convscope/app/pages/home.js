// Where everything starts, and the list of jobs.
import { button, day, link, make, post, rebuilt, remove, scope, send, sure, trying } from "./common.js";
import { jobCard } from "./jobs.js";
import { follow, refresh } from "./state.js";
import { photoDrop, takeDrops } from "./uploads.js";

const PLACES = { photos: "photos", table: "table", run: "run", forecast: "forecast" };
const HEADINGS = { photos: "Photos", run: "Classifiers", table: "Tables", forecast: "Forecasts" };

export const removing = (item) => trying(async () => {
  const text = "It is deleted with everything in it, and cannot be had back.";
  if (!(await sure(`Remove ${item.name}?`, text, "Remove"))) return;
  await remove(`/api/items/${item.id}`);
  location.hash = "#/";
  await refresh();
});

function entry(item, state) {
  const job = state.jobs.find((one) => one.about === item.id && (one.status === "running" || one.status === "waiting"));
  const last = state.jobs.find((one) => one.makes === item.id);
  const said = job ? job.status : item.unfinished ? "cut off while it was sent: remove it, and send it again" : item.ready ? day(item.created) : last ? last.status : "";
  return make("li", {}, link(item.name, `#/${PLACES[item.kind]}/${item.id}`),
    make("span", { class: "aside" }, `${said} `, item.given ? "given on the command line" : button("Remove", removing(item), { "aria-label": `Remove ${item.name}` })));
}

export function home(main) {
  const buttons = make("div", { class: "row" });
  const planted = make("input", { type: "checkbox" });
  const demo = button("Use the demo's photos", trying(async () => {
    const job = await post("/api/jobs", { kind: "demo", shortcut: planted.checked });
    await refresh();
    location.hash = `#/photos/${job.about}`;
  }));
  const photos = make("div", { class: "card dropping" },
    make("h2", {}, "Photos"),
    make("p", {}, "Drop a folder here with one sub-folder for each class, or a zip of one. Some dozen photos a class are enough to begin with."),
    buttons, make("div", { class: "row" }, demo, make("label", { class: "row" }, planted, "with a shortcut planted")),
    make("p", { class: "aside" }, "The shortcut: nearly all birds stand before snow, but in the test photos none does."));
  photoDrop(photos, buttons);

  const take = trying(async (file) => {
    if (!file) return;
    const { id } = await send("/api/tables", { name: file.name }, file, { method: "POST" });
    await refresh();
    location.hash = `#/table/${id}`;
  });
  const input = make("input", { type: "file", class: "hidden", accept: ".csv,.parquet,.pq,text/csv", on: { change: () => { take(input.files[0]); input.value = ""; } } });
  const table = make("div", { class: "card dropping" },
    make("h2", {}, "Measurements over time"),
    make("p", {}, "Drop a table here, CSV or Parquet, with a row for each time stamp, to forecast what comes next."),
    make("div", { class: "row" }, make("label", { class: "file" }, "Choose a table", input)));
  takeDrops(table, (transfer) => take(transfer.files[0]));

  const lists = make("div");
  main.replaceChildren(
    make("h1", {}, "Train on your photos, and see what it looks at"),
    make("p", {}, "Everything stays on this machine."),
    make("div", { class: "cards" }, photos, table), lists);
  let shown = "";
  return follow((state) => {
    const signature = JSON.stringify([state.items, state.jobs.map((job) => [job.id, job.status])]);
    if (signature === shown) return;
    shown = signature;
    const kinds = Object.keys(HEADINGS).filter((kind) => state.items.some((item) => item.kind === kind));
    rebuilt(lists, () => lists.replaceChildren(...kinds.map((kind) => make("section", {},
      make("h2", {}, HEADINGS[kind]),
      make("ul", { class: "items" }, ...state.items.filter((item) => item.kind === kind).map((item) => entry(item, state)))))));
  });
}

export function jobs(main) {
  const list = make("div", { class: "cards" });
  const none = make("p", {}, "Nothing has been asked for yet.");
  main.replaceChildren(make("h1", {}, "Jobs"), make("p", { class: "aside" }, "One at a time, in the order in which they were asked for. They go on when this page is closed."), none, list);
  const here = scope();
  const shown = new Set();
  here.add(follow((state) => {
    none.hidden = state.jobs.length > 0;
    for (const job of [...state.jobs].reverse()) {
      if (shown.has(job.id)) continue;
      shown.add(job.id);
      const [card, end] = jobCard(job);
      const item = state.items.find((one) => one.id === job.about);
      if (item) card.append(link(item.name, `#/${PLACES[item.kind]}/${item.id}`));
      list.prepend(card);
      here.add(end);
    }
  }));
  return here.end;
}
