// A classifier: its training as it goes on, its photos, its report, its neurons, its audit.
import { asked, button, count, get, gone, link, make, percent, post, remember, scope, send, trying } from "./common.js";
import { removing } from "./home.js";
import { jobCard } from "./jobs.js";
import { field, options } from "./photos.js";
import { key, plot } from "./plot.js";
import { active, follow, refresh } from "./state.js";
import { takeDrops } from "./uploads.js";

const TABS = [["photos", "Photos"], ["report", "Report"], ["neurons", "Neurons"], ["audit", "Shortcuts"]];
// A page that convscope made; also by itself, where it has the whole window.
export const frame = (name, page, title) => make("div", {},
  make("p", {}, link("Open it by itself", `/api/runs/${name}/pages/${page}`, { target: "_blank", rel: "noopener" })),
  make("iframe", { src: `/api/runs/${name}/pages/${page}`, sandbox: "allow-scripts", title }));

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
  const before = asked();
  const usual = splits.includes("test") ? "test" : "";
  split.value = before.has("split") ? before.get("split").replace("all", "") : usual;
  const label = options([any, ...found.classes.map((one) => [one, one])]), predicted = options([any, ...found.classes.map((one) => [one, one])]);
  const wrong = make("input", { type: "checkbox" });
  label.value = before.get("label") || "";
  predicted.value = before.get("predicted") || "";
  wrong.checked = before.has("wrong");
  let page = Number(before.get("page")) || 0;
  const back = button("← Before", () => { page -= 1; load(); }), on = button("More →", () => { page += 1; load(); });
  let asking = 0;
  const load = trying(async () => {
    const mine = (asking += 1);
    const rows = await get(`/api/runs/${name}/rows`, { split: split.value, label: label.value, predicted: predicted.value, wrong: wrong.checked || "", page });
    if (mine !== asking) return; // something else was asked for meanwhile
    remember({ split: split.value === usual ? "" : split.value || "all", label: label.value, predicted: predicted.value, wrong: wrong.checked ? "1" : "", page });
    sessionStorage.setItem(`rows-${name}`, JSON.stringify(rows.rows.map((one) => one.row)));
    said.textContent = rows.total ? `${count(rows.total, "photo")}; the surest mistakes first, then the least sure. Press one to see what the answer rests on.` : "No photo fits.";
    grid.replaceChildren(...rows.rows.map((one) => {
      const right = one.label === one.predicted;
      return make("li", {}, make("a", { href: `#/run/${name}/look/${one.row}`, title: one.path },
        make("img", { src: `/api/runs/${name}/photos/${one.row}`, alt: "", loading: "lazy" }),
        make("span", { class: "said" }, make("span", { class: right ? "" : "wrong" }, one.predicted), ` ${percent(one.probability)}`, right ? "" : `, is ${one.label}`),
        make("span", { class: "name" }, one.name)));
    }));
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

// A page that a job makes: the page, or what asks for it, and the last job that did not end well.
function made(found, body, page, asks, title, here, then = () => {}) {
  const cards = make("div"), place = make("div");
  body.replaceChildren(asks, cards, place);
  if (found.pages.includes(page)) place.replaceChildren(frame(found.id, page, title));
  const seen = new Set();
  here.add(follow((state) => {
    const own = state.jobs.filter((job) => job.about === found.id && job.kind === page);
    for (const [i, job] of own.entries()) {
      if (seen.has(job.id) || !(active(job) || (i === 0 && job.status !== "done"))) continue;
      seen.add(job.id);
      const [card, end] = jobCard(job, (now) => { if (now.status === "done") { card.remove(); place.replaceChildren(frame(found.id, page, title)); then(); } });
      cards.append(card);
      here.add(end);
    }
  }));
}

function neuronTab(found, body, here) {
  const layer = make("select", { "aria-label": "Layer" }, make("option", { value: "" }, "reading the layers …"));
  const ask = button("Find their patches", trying(async () => {
    await post("/api/jobs", { kind: "neurons", item: found.id, layer: layer.value });
    await refresh();
  }), { class: "strong", disabled: true });
  made(found, body, "neurons", make("div", {},
    make("p", {}, "The patches of the photos that excite each neuron of a layer most: exactly what it sees."),
    make("div", { class: "row" }, layer, ask)), "The neurons", here);
  trying(async () => {
    const layers = await get(`/api/runs/${found.id}/layers`);
    layer.replaceChildren(...layers.map((one) => make("option", { value: one.name }, `${one.name} (${one.kind}, ${one.output[0]} channels, sees ${one.receptive_field.join(" × ")})`)));
    if (layers.length) layer.value = layers[layers.length - 1].name;
    ask.disabled = !layers.length;
  })();
}

function reportTab(found, body, here) {
  const ask = button("Add what it looks at, neurons and shortcuts", trying(async () => {
    await post("/api/jobs", { kind: "report", item: found.id });
    await refresh();
  }), { class: "strong" });
  const asks = make("div", {}, found.given || found.whole ? null : make("div", { class: "row" }, ask, make("span", { class: "aside" }, "takes some minutes")));
  made(found, body, "report", asks, "Report", here, () => { asks.hidden = true; });
}

function auditTab(found, body, here) {
  const ask = button("Look for shortcuts", trying(async () => {
    await post("/api/jobs", { kind: "audit", item: found.id });
    await refresh();
  }), { class: "strong" });
  made(found, body, "audit", make("div", {},
    make("p", {}, "What gives a class away without being the thing itself: snow, a tag, a frame, a colour cast. Each is tried out on the photos."),
    make("div", { class: "row" }, ask)), "Shortcuts", here);
}

export function classifier(main, name, tab = "photos") {
  const head = make("h1", {}, "Classifier"), top = make("div"), body = make("div");
  const here = scope();
  main.replaceChildren(head, top, body);
  const load = trying(async () => {
    const found = await get(`/api/items/${name}`);
    head.textContent = found.name;
    if (!found.ready) {
      growing(found, name, top, body, here, load);
      return found;
    }
    top.replaceChildren(figures(found), make("nav", { class: "tabs", "aria-label": "About this classifier" },
      ...TABS.map(([one, text]) => link(text, `#/run/${name}/${one}`, { "aria-current": one === tab ? "page" : undefined }))));
    if (tab === "report") reportTab(found, body, here);
    else if (tab === "neurons") neuronTab(found, body, here);
    else if (tab === "audit") auditTab(found, body, here);
    else photoTab(found, body);
    body.append(make("section", {}, make("p", { class: "aside" }, "It lies in ", make("code", {}, found.place), ", as any run of convscope."),
      found.given ? null : button("Remove this classifier", removing(found), { class: "danger" })));
    return found;
  });
  gone(main, load());
  return here.end;
}

// A run in the making.
export function growing(found, name, top, body, here, done) {
  const chart = make("div");
  let drawn = 0;
  body.replaceChildren(chart, make("section", {}, button("Remove it", removing(found), { class: "danger" })));
  const seen = new Set();
  here.add(follow(trying(async (state) => {
    const job = state.jobs.find((one) => one.makes === name);
    if (!job || here.over) return;
    if (!seen.has(job.id)) {
      seen.add(job.id);
      const [card, end] = jobCard(job, (now) => { if (now.status === "done") done(); });
      top.replaceChildren(card);
      here.add(end);
    }
    if (active(job)) {
      const epochs = await get(`/api/items/${name}/epochs`);
      if (epochs.length !== drawn && !here.over) {
        drawn = epochs.length;
        chart.replaceChildren(curves(epochs));
      }
    }
  })));
}
