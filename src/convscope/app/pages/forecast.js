// A table, and what comes next of it.
import { button, get, gone, link, make, percent, post, scope, trying } from "./common.js";
import { removing } from "./home.js";
import { field, options } from "./photos.js";
import { key, plot } from "./plot.js";
import { frame, growing } from "./run.js";
import { refresh } from "./state.js";

// Seconds only where there are any.
const shortTime = (time) => String(time).replace(/:00$/, "");
const numbers = (value) => (typeof value === "number" ? Number(value.toPrecision(4)).toString() : "–");

export function table(main, name) {
  main.replaceChildren(make("h1", {}, "Table"));
  gone(main, trying(async () => {
    const found = await get(`/api/items/${name}`);
    // By their place: a column may have no name, such as an index that was written with the rest.
    const places = found.columns.map((column, i) => [String(i), column.name || "(no name)", column]);
    const named = (control) => (control.value === "" ? null : found.columns[Number(control.value)].name);
    const targets = places.filter(([, , column]) => column.number && column.name);
    const times = places.filter(([, , column]) => column.time);
    const rest = places.filter(([, , column]) => !column.time).sort((a, b) => a[2].number - b[2].number);
    const target = options(targets);
    if (targets.length) target.value = targets[targets.length - 1][0];
    const time = options([["", "none: rows are steps"], ...times]);
    if (times.length) time.value = times[0][0];
    const series = options([["", "there is one"], ...rest]);
    const horizon = make("input", { type: "number", min: 1, value: 24 });
    const back = make("input", { type: "text", placeholder: "by itself" });
    const gaps = options([["mask", "Leave them out"], ["interpolate", "Draw lines across"], ["error", "Stop and name them"]]);
    const epochs = make("input", { type: "number", min: 1, value: 30 });
    const ask = button("Forecast", trying(async () => {
      const job = await post("/api/jobs", {
        kind: "forecast", item: name, target: [named(target)], time: named(time), series: named(series),
        horizon: Number(horizon.value), look_back: back.value.trim() || null, gaps: gaps.value, epochs: Number(epochs.value),
      });
      await refresh();
      location.hash = `#/forecast/${job.about}`;
    }), { class: "strong", disabled: !targets.length });
    main.replaceChildren(make("h1", {}, found.name), make("p", {}, `${found.rows.toLocaleString("en")} rows, ${found.columns.length} columns. The first of them:`),
      make("div", { class: "scroll" }, make("table", { class: "plain" },
        make("thead", {}, make("tr", {}, ...found.columns.map((column) => make("th", { scope: "col" }, column.name || "(no name)")))),
        make("tbody", {}, ...found.first.map((row) => make("tr", {}, ...row.map((value) => make("td", {}, value))))))),
      make("section", {}, make("h2", {}, "Forecast"),
        targets.length ? null : make("p", { class: "caveat" }, "No column holds numbers alone: there is nothing to forecast."),
        make("div", { class: "form" }, field("Column to forecast", target), field("Time stamps", time), field("Series are told apart by", series),
          field("Steps ahead", horizon), field("Look-back", back, "in steps, or a time span such as 2 weeks"), field("Gaps", gaps), field("Epochs, at most", epochs)),
        make("div", { class: "row" }, ask)),
      make("section", {}, button("Remove this table", removing(found), { class: "danger" })));
    return found;
  })());
  return () => {};
}

const NAMES = { naive: "the last value", seasonal_naive: "the last season", drift: "the drift", linear: "the linear model" };

// What the intervals have held on rows that were not learned from.
function coverage(metrics) {
  if (typeof metrics.coverage_80 !== "number") return null;
  const held = typeof metrics.coverage_95 === "number" ? `, ${percent(metrics.coverage_95)} in the 95 % interval` : "";
  return make("p", { class: "aside" }, `On the newest rows, ${percent(metrics.coverage_80)} of the values lay in the 80 % interval${held}.`);
}

function scores(metrics) {
  const rows = [["this network", metrics.model], ...Object.entries(metrics.baselines).map(([name, row]) => [NAMES[name] || name, row])].filter(([, row]) => row);
  rows.sort((a, b) => a[1].mae - b[1].mae);
  const about = "Errors on the newest rows, which it has not learned from; the best first. MASE below 1 is better than the last season was on the rows that it learned from.";
  return make("div", {}, make("p", { class: "aside" }, about), make("div", { class: "scroll" }, make("table", { class: "plain", "aria-label": "Errors" },
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "forecast by"), make("th", { scope: "col", class: "n" }, "MAE"), make("th", { scope: "col", class: "n" }, "MSE"), make("th", { scope: "col", class: "n" }, "MASE"))),
    make("tbody", {}, ...rows.map(([name, row]) => make("tr", { class: name === "this network" ? "chosen" : "" }, make("th", { scope: "row" }, name),
      ...["mae", "mse", "mase"].map((measure) => make("td", { class: "n" }, numbers(row[measure])))))))));
}

export function forecast(main, name, tab = "next") {
  const head = make("h1", {}, "Forecast"), top = make("div"), body = make("div");
  const here = scope();
  main.replaceChildren(head, top, body);
  let steps = null;
  const load = trying(async () => {
    const found = await get(`/api/items/${name}`, { steps });
    head.textContent = found.name;
    if (!found.ready) {
      growing(found, name, top, body, here, load);
      return found;
    }
    top.replaceChildren(make("p", { class: "baseline" }, found.metrics.verdict ? found.metrics.verdict.text : ""), make("nav", { class: "tabs", "aria-label": "About this forecast" },
      ...[["next", "What comes next"], ["report", "Report"]].map(([one, text]) => link(text, `#/forecast/${name}/${one}`, { "aria-current": one === tab ? "page" : undefined }))));
    if (tab === "report") {
      body.replaceChildren(frame(name, "report", "Report"));
      return found;
    }
    const chosen = options(found.series.map((one, i) => [String(i), one.name]));
    const far = make("input", { type: "number", min: 1, max: 10000, value: found.series[0] ? found.series[0].next.length : found.horizon });
    const chart = make("div"), rows = make("div", { class: "scroll tall", tabindex: "0", "aria-label": "The forecast as a table" });
    const paint = () => {
      const one = found.series[Number(chosen.value) || 0];
      if (!one) return;
      const from = one.past.length;
      // The forecast begins where the measured values end.
      const last = from ? one.past[from - 1].value : null;
      const joined = last === null ? [] : [last];
      const levels = Object.keys(one.next[0] || {}).filter((column) => column.startsWith("low_")).map((column) => column.slice(4)).sort((a, b) => b - a);
      chart.replaceChildren(plot({
        title: `${one.name}: what was measured, and the next ${one.next.length} steps`, labels: [...one.past, ...one.next].map((row) => shortTime(row.time)),
        lines: [{ name: "measured", look: "past", values: one.past.map((row) => row.value) }, { name: "forecast", look: "next", from: from - joined.length, values: [...joined, ...one.next.map((row) => row.forecast)] }],
        bands: levels.map((level, i) => ({ name: `${level} %`, look: i === 0 && levels.length > 1 ? "wide" : "narrow", from, low: one.next.map((row) => row[`low_${level}`]), high: one.next.map((row) => row[`high_${level}`]) })),
      }), key(["ink", "measured"], ["blue", "forecast"], ["band80", "80 % interval"], ["band95", "95 % interval"]));
      rows.replaceChildren(make("table", { class: "plain" },
        make("thead", {}, make("tr", {}, ...["time", "forecast", ...levels.map((level) => `${level} % interval`)].map((text) => make("th", { scope: "col", class: text === "time" ? "" : "n" }, text)))),
        make("tbody", {}, ...one.next.map((row) => make("tr", {}, make("td", {}, shortTime(row.time)), make("td", { class: "n" }, numbers(row.forecast)),
          ...levels.map((level) => make("td", { class: "n" }, `${numbers(row[`low_${level}`])} to ${numbers(row[`high_${level}`])}`)))))));
    };
    chosen.addEventListener("change", paint);
    const go = button("Show", () => { steps = Number(far.value); load(); });
    body.replaceChildren(...[make("div", { class: "row" }, found.series.length > 1 ? make("label", { class: "row" }, "Series", chosen) : null, make("label", { class: "row" }, "Steps ahead", far), go),
      chart, coverage(found.metrics), make("section", {}, scores(found.metrics)), make("section", {}, make("h2", {}, "In numbers"), rows),
      found.given ? null : make("section", {}, button("Remove this forecast", removing(found), { class: "danger" }))].filter(Boolean));
    paint();
    return found;
  });
  gone(main, load());
  return here.end;
}
