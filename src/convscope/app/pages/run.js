// A classifier: its training as it goes on, its photos, its report, its neurons, its audit.
import { button, count, get, link, make, percent, post, send, trying } from "./common.js";
import { removing } from "./home.js";
import { jobCard } from "./jobs.js";
import { field, options } from "./photos.js";
import { key, plot } from "./plot.js";
import { active, follow, refresh } from "./state.js";
import { takeDrops } from "./uploads.js";

const TABS = [["photos", "Photos"], ["report", "Report"], ["neurons", "Neurons"], ["audit", "Shortcuts"]];
const frame = (name, page, title) => make("iframe", { src: `/api/runs/${name}/pages/${page}`, sandbox: "allow-scripts", title });

function curves(epochs) {
  if (epochs.length < 2) return make("p", { class: "aside" }, "Curves are drawn from the second epoch on.");
  const labels = epochs.map((one) => String(one.epoch));
  const both = (what) => [
    { name: "training", look: "second", values: epochs.map((one) => one[`train_${what}`]) },
    { name: "validation", look: "next", values: epochs.map((one) => one[`valid_${what}`]) },
  ].filter((line) => line.values.some((value) => value !== null));
  return make("div", {}, key(["orange", "training"], ["blue", "validation"]), plot({ lines: both("loss"), labels, title: "Loss by epoch" }),
    ...(both("accuracy").length ? [plot({ lines: both("accuracy"), labels, title: "Accuracy by epoch" })] : []));
}

function figures(found) {
  const test = found.splits.test || found.splits.valid;
  const which = found.splits.test ? "test" : "validation";
  if (!test) return make("p", {}, "There were no photos to test on.");
  const [low, high] = test.accuracy_95;
  return make("div", {},
    make("p", { class: "baseline" }, make("b", { class: "blue" }, percent(test.accuracy)), ` of ${test.n.toLocaleString("en")} ${which} photos named correctly (95 % interval ${percent(low)} to ${percent(high)}); always naming the commonest class would reach ${percent(found.majority_baseline.accuracy)}.`),
    make("p", { class: "aside" }, `${found.net}, strategy ${found.strategy}: ${found.reason}.`));
}

function photoTab(found, body) {
  const name = found.id;
  const grid = make("ul", { class: "photos" }), said = make("p", { class: "aside", "aria-live": "polite" });
  const any = ["", "any"];
  const splits = Object.keys(found.splits);
  const split = options([any, ["test", "test"], ["valid", "validation"], ["train", "training"]], { "aria-label": "Photos of" });
  split.value = splits.includes("test") ? "test" : "";
  const label = options([any, ...found.classes.map((one) => [one, one])]), predicted = options([any, ...found.classes.map((one) => [one, one])]);
  const wrong = make("input", { type: "checkbox" });
  let page = 0;
  const back = button("← Before", () => { page -= 1; load(); }), on = button("More →", () => { page += 1; load(); });
  const load = trying(async () => {
    const rows = await get(`/api/runs/${name}/rows`, { split: split.value, label: label.value, predicted: predicted.value, wrong: wrong.checked || "", page });
    said.textContent = rows.total ? `${count(rows.total, "photo")}; the surest mistakes first, then the least sure. Press one to see what the answer rests on.` : "No photo fits.";
    grid.replaceChildren(...rows.rows.map((one) => {
      const right = one.label === one.predicted;
      return make("li", {}, link("", `#/run/${name}/look/${one.row}`, { title: one.path }), );
    }));
    [...grid.children].forEach((node, i) => {
      const one = rows.rows[i], right = one.label === one.predicted;
      node.firstChild.append(
        make("img", { src: `/api/runs/${name}/photos/${one.row}`, alt: "", loading: "lazy" }),
        make("span", { class: "said" }, make("span", { class: right ? "" : "wrong" }, one.predicted), ` ${percent(one.probability)}`, right ? "" : `, is ${one.label}`),
        make("span", { class: "name" }, one.name));
    });
    back.hidden = page === 0;
    on.hidden = (page + 1) * rows.size >= rows.total;
  });
  for (const control of [split, label, predicted, wrong]) control.addEventListener("change", () => { page = 0; load(); });

  const own = make("ul", { class: "photos" });
  const card = make("div", { class: "card dropping" });
  const take = trying(async (files) => {
    let last = null;
    for (const file of files) last = (await send(`/api/runs/${name}/own`, { file: file.name }, file)).id;
    if (last) location.hash = `#/run/${name}/look/own/${last}`;
  });
  const input = make("input", { type: "file", class: "hidden", accept: "image/*", multiple: true, on: { change: () => { take([...input.files]); input.value = ""; } } });
  own.append(...found.own.map((one) => make("li", {}, make("a", { href: `#/run/${name}/look/own/${one.id}` },
    make("img", { src: `/api/runs/${name}/own/${one.id}`, alt: "", loading: "lazy" }), make("span", { class: "name" }, one.name)))));
  card.append(make("h2", {}, "A new photo"), make("p", {}, "Drop one here to have it named and explained."), make("div", { class: "row" }, make("label", { class: "file" }, "Choose a photo", input)), own);
  takeDrops(card, (transfer) => take([...transfer.files]));
  body.replaceChildren(card, make("section", {}, make("h2", {}, "The photos it was trained and tested on"),
    found.photos_there ? null : make("p", { class: "caveat" }, "The photos are no longer where they were; only their names are known."),
    make("div", { class: "form" }, field("Photos of", split), field("That are", label), field("Named", predicted), make("label", { class: "check" }, wrong, "only mistakes")),
    said, grid, make("div", { class: "row" }, back, on)));
  load();
}

// A page that a job makes: the page, or the button that asks for it, and the jobs so far.
function made(found, body, page, asks, title, ends) {
  const cards = make("div"), place = make("div");
  body.replaceChildren(asks, cards, place);
  let shown = found.pages.includes(page);
  if (shown) place.replaceChildren(frame(found.id, page, title));
  const seen = new Set();
  ends.push(follow((state) => {
    for (const job of state.jobs) {
      if (job.about !== found.id || job.kind !== page || seen.has(job.id) || !(active(job) || job.status === "failed")) continue;
      seen.add(job.id);
      const [card, end] = jobCard(job, (now) => { if (now.status === "done") { card.remove(); place.replaceChildren(frame(found.id, page, title)); } });
      cards.append(card);
      ends.push(end);
    }
  }));
}

function neuronTab(found, body, ends) {
  const layer = make("select", { "aria-label": "Layer" });
  const ask = button("Find their patches", trying(async () => {
    await post("/api/jobs", { kind: "neurons", item: found.id, layer: layer.value });
    await refresh();
  }), { class: "strong", disabled: true });
  made(found, body, "neurons", make("div", {},
    make("p", {}, "The patches of the photos that excite each neuron of a layer most: exactly what it sees."),
    make("div", { class: "row" }, layer, ask)), "The neurons", ends);
  trying(async () => {
    const layers = await get(`/api/runs/${found.id}/layers`);
    layer.append(...layers.map((one) => make("option", { value: one.name }, `${one.name} (${one.kind}, ${one.output[0]} channels, sees ${one.receptive_field.join(" × ")})`)));
    if (layers.length) layer.value = layers[layers.length - 1].name;
    ask.disabled = !layers.length;
  })();
}

function reportTab(found, body, ends) {
  const ask = button("Add what it looks at, neurons and shortcuts", trying(async () => {
    await post("/api/jobs", { kind: "report", item: found.id });
    await refresh();
  }), { class: "strong" });
  const asks = make("div", {}, found.given || found.whole ? null : make("div", { class: "row" }, ask, make("span", { class: "aside" }, "takes some minutes")));
  made(found, body, "report", asks, "Report", ends);
}

function auditTab(found, body, ends) {
  const ask = button("Look for shortcuts", trying(async () => {
    await post("/api/jobs", { kind: "audit", item: found.id });
    await refresh();
  }), { class: "strong" });
  made(found, body, "audit", make("div", {},
    make("p", {}, "What gives a class away without being the thing itself: snow, a tag, a frame, a colour cast. Each is tried out on the photos."),
    make("div", { class: "row" }, ask)), "Shortcuts", ends);
}

export function classifier(main, name, tab = "photos") {
  const head = make("h1", {}, "Classifier"), top = make("div"), body = make("div");
  const ends = [];
  main.replaceChildren(head, top, body);
  const load = trying(async () => {
    const found = await get(`/api/items/${name}`);
    head.textContent = found.name;
    if (!found.ready) {
      growing(found, name, top, body, ends, load);
      return;
    }
    top.replaceChildren(figures(found), make("nav", { class: "tabs", "aria-label": "About this classifier" },
      ...TABS.map(([one, text]) => link(text, `#/run/${name}/${one}`, { "aria-current": one === tab ? "page" : undefined }))));
    if (tab === "report") reportTab(found, body, ends);
    else if (tab === "neurons") neuronTab(found, body, ends);
    else if (tab === "audit") auditTab(found, body, ends);
    else photoTab(found, body);
    body.append(make("section", {}, button("Remove this classifier", removing(found), { class: "danger" })));
  });
  load();
  return () => ends.forEach((end) => end());
}

// A run in the making.
export function growing(found, name, top, body, ends, done) {
  const chart = make("div");
  let drawn = 0;
  body.replaceChildren(chart, make("section", {}, button("Remove it", removing(found), { class: "danger" })));
  const seen = new Set();
  ends.push(follow(trying(async (state) => {
    const job = state.jobs.find((one) => one.makes === name);
    if (!job) return;
    if (!seen.has(job.id)) {
      seen.add(job.id);
      const [card, end] = jobCard(job, (now) => { if (now.status === "done") done(); });
      top.replaceChildren(card);
      ends.push(end);
    }
    if (active(job)) {
      const epochs = await get(`/api/items/${name}/epochs`);
      if (epochs.length !== drawn) {
        drawn = epochs.length;
        chart.replaceChildren(curves(epochs));
      }
    }
  })));
}
