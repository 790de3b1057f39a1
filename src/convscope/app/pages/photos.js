// A set of photos: what the check has found, and training on it.
import { button, count, get, gone, make, post, rebuilt, scope, trying } from "./common.js";
import { removing } from "./home.js";
import { jobCard } from "./jobs.js";
import { follow, refresh } from "./state.js";

const SEVERITIES = ["error", "warning", "note"];
const STRATEGIES = [
  ["auto", "Choose for me"], ["cnn", "A small convolutional network from scratch"], ["fcnn", "A fully connected network from scratch"],
  ["features", "A classifier on features of a pre-trained network"], ["finetune", "A pre-trained network, trained further"],
];
const POLICIES = [["", "As the strategy has it"], ["none", "None"], ["standard", "Standard: rotate, shift, flip"], ["strong", "Strong: crop, colours, erasing too"],
  ["trivial", "TrivialAugment"], ["mixup", "MixUp"], ["cutmix", "CutMix"]];

export const options = (pairs, attributes = {}) => make("select", attributes, ...pairs.map(([value, text]) => make("option", { value }, text)));
export const field = (text, control, help) => make("label", {}, text, control, help ? make("span", { class: "aside" }, help) : null);

function counts(check) {
  const splits = Object.keys(check.counts);
  const classes = Object.keys(check.counts[splits[0]] || {});
  const words = { all: "photos", train: "training", valid: "validation", test: "test" };
  return make("div", { class: "scroll" }, make("table", { class: "plain" },
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "class"), ...splits.map((split) => make("th", { scope: "col", class: "n" }, words[split] || split)))),
    make("tbody", {}, ...classes.map((name) => make("tr", {}, make("th", { scope: "row" }, name), ...splits.map((split) => make("td", { class: "n" }, check.counts[split][name].toLocaleString("en"))))))));
}

function findings(check, hidden) {
  if (!check.findings.length) return make("p", {}, "No problems found.");
  const groups = new Map();
  for (const one of check.findings) groups.set(one.kind, [...(groups.get(one.kind) || []), one]);
  const order = [...groups].sort((a, b) => SEVERITIES.indexOf(a[1][0].severity) - SEVERITIES.indexOf(b[1][0].severity));
  const nodes = order.map(([kind, rows]) => make("details", { class: rows[0].severity },
    make("summary", {}, make("span", { class: "badge" }, rows[0].severity), kind.replaceAll("_", " "), make("span", { class: "count" }, `${rows.length}`)),
    make("ul", { class: "files" }, ...rows.map((row) => make("li", {}, row.path ? make("span", { class: "path" }, row.path) : null, row.path ? ": " : "", row.detail,
      row.other.length ? make("span", { class: "other" }, ` [${row.other.join(", ")}]`) : null)))));
  if (hidden) nodes.push(make("p", { class: "aside" }, `${count(hidden, "more finding")} not shown.`));
  return make("div", {}, ...nodes);
}

function training(item) {
  const strategy = options(STRATEGIES), policy = options(POLICIES);
  const epochs = make("input", { type: "number", min: 1, max: 100000, placeholder: "by itself" });
  const seed = make("input", { type: "number", min: 0, value: 0 });
  const ask = trying(async () => {
    const job = await post("/api/jobs", {
      kind: "fit", item: item.id, strategy: strategy.value, augment: policy.value || null,
      epochs: epochs.value ? Number(epochs.value) : null, seed: Number(seed.value) || 0,
    });
    await refresh();
    location.hash = `#/run/${job.about}`;
  });
  return make("section", {}, make("h2", {}, "Train"),
    make("div", { class: "form" }, field("How", strategy), field("Augmentation", policy), field("Epochs, at most", epochs), field("Seed", seed)),
    make("div", { class: "row" }, button("Train a classifier", ask, { class: "strong" })),
    make("p", { class: "aside" }, "“Choose for me” measures how many photos there are and how similar they are to what a pre-trained network knows; without its weights it trains a small network from scratch."));
}

export function photoSet(main, name) {
  const head = make("h1", {}, "Photos"), cards = make("div"), form = make("div"), body = make("div");
  main.replaceChildren(head, cards, form, body);
  const here = scope(), shown = new Set();
  let before = null;
  const load = trying(async () => {
    const found = await get(`/api/items/${name}`);
    head.textContent = found.name;
    // Once: what somebody has typed there must not go.
    if (found.ready && !form.firstChild) form.append(training(found));
    const parts = [];
    if (found.unfinished) parts.push(make("p", { class: "caveat" }, "This set was cut off while it was sent. Remove it, and send it again."));
    if (found.check) {
      parts.push(make("section", {}, make("h2", {}, "What the check found"), counts(found.check), findings(found.check, found.hidden)));
    }
    const samples = Object.entries(found.samples || {});
    if (samples.length) {
      parts.push(make("section", {}, make("h2", {}, "Some of them"), ...samples.map(([label, paths]) => make("div", {}, make("h3", {}, label),
        make("div", { class: "strip" }, ...paths.map((path) => make("img", { src: `/api/photos/${name}/thumb?${new URLSearchParams({ path })}`, alt: path, title: path, loading: "lazy" })))))));
    }
    parts.push(make("section", {}, button("Remove these photos", removing(found), { class: "danger", "aria-label": "Remove these photos" })));
    rebuilt(body, () => body.replaceChildren(...parts));
    return found;
  });
  gone(main, load());
  here.add(follow((state) => {
    const own = state.jobs.filter((job) => job.about === name);
    // The newest last, as they run.
    for (const job of [...own].reverse()) {
      if (shown.has(job.id) || job.status === "done") continue;
      shown.add(job.id);
      const [card, end] = jobCard(job, (now) => { if (now.status === "done") card.remove(); });
      cards.append(card);
      here.add(end);
    }
    const now = JSON.stringify(own.map((job) => job.status));
    if (before !== null && before !== now) load();
    before = now;
  }));
  return here.end;
}
