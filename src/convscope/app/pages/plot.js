// Plain line plots, with bands; what a pointer shows is said in text below as well.
import { draw, make } from "./common.js";

const HEIGHT = 300, LEFT = 64, BOTTOM = 34, TOP = 12, RIGHT = 14;

function ticks(low, high, about = 5) {
  const rough = (high - low || 1) / about;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * unit).find((k) => k >= rough);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + 1e-9 * step; at += step) found.push(Number(at.toPrecision(12)));
  return found;
}

// lines: [{ values, look, from }], bands: [{ low, high, look, from }], labels: one for each place.
export function plot({ lines, bands = [], labels, title, unit = "" }) {
  const all = [...lines.flatMap((line) => line.values), ...bands.flatMap((band) => [...band.low, ...band.high])].filter((value) => value !== null);
  let low = Math.min(...all), high = Math.max(...all);
  if (low === high) [low, high] = [low - 1, high + 1];
  const air = 0.04 * (high - low);
  [low, high] = [low - air, high + air];
  const n = labels.length;
  // As wide as the page: letters stay as large as elsewhere.
  const WIDTH = Math.max(300, Math.min(1060, document.getElementById("main").clientWidth - 40));
  const x = (i) => LEFT + (n > 1 ? i / (n - 1) : 0.5) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + (1 - (value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title });
  for (const tick of ticks(low, high)) {
    svg.append(draw("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }),
      draw("text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, String(tick)));
  }
  // As many as there is room for between long ones.
  const letters = Math.max(...labels.map((label) => label.length));
  const some = Math.min(Math.max(2, Math.floor(WIDTH / (14 * letters))), 6, n);
  for (let k = 0; k < some; k += 1) {
    const i = some > 1 ? Math.round((k * (n - 1)) / (some - 1)) : 0;
    svg.append(draw("text", { x: x(i), y: HEIGHT - 10, "text-anchor": k === 0 && some > 1 ? "start" : k === some - 1 && some > 1 ? "end" : "middle" }, labels[i]));
  }
  for (const band of bands) {
    const from = band.from || 0;
    const up = band.high.map((value, i) => `${x(from + i)},${y(value)}`), down = band.low.map((value, i) => `${x(from + i)},${y(value)}`).reverse();
    svg.append(draw("polygon", { class: band.look, points: [...up, ...down].join(" ") }));
  }
  for (const line of lines) {
    let path = "", pen = false;
    line.values.forEach((value, i) => {
      if (value === null) { pen = false; return; }
      path += `${pen ? "L" : "M"}${x((line.from || 0) + i).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = true;
    });
    svg.append(draw("path", { class: line.look, d: path }));
  }
  const marker = draw("line", { class: "grid", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  svg.append(marker);
  const said = make("p", { class: "aside", "aria-live": "off" }, " ");
  const value = (line, i) => line.values[i - (line.from || 0)];
  svg.addEventListener("pointermove", (event) => {
    const edge = svg.getBoundingClientRect();
    const share = ((event.clientX - edge.left) / edge.width * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT);
    const i = Math.max(0, Math.min(n - 1, Math.round(share * (n - 1))));
    marker.setAttribute("x1", x(i));
    marker.setAttribute("x2", x(i));
    marker.setAttribute("visibility", "visible");
    const parts = lines.filter((line) => typeof value(line, i) === "number").map((line) => `${line.name} ${Number(value(line, i).toPrecision(4))}${unit}`);
    for (const band of bands) {
      const k = i - (band.from || 0);
      if (k >= 0 && k < band.low.length) parts.push(`${band.name} ${Number(band.low[k].toPrecision(4))} to ${Number(band.high[k].toPrecision(4))}`);
    }
    said.textContent = `${labels[i]}: ${parts.join(", ")}`;
  });
  svg.addEventListener("pointerleave", () => { marker.setAttribute("visibility", "hidden"); said.textContent = " "; });
  return make("figure", { class: "plot" }, make("figcaption", {}, title), svg, said);
}

export const key = (...entries) => make("p", { class: "key" }, ...entries.map(([look, text]) => make("span", {}, make("span", { class: `line ${look}` }), text)));
