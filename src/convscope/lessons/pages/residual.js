(() => {
  const { data, id, make, draw, number } = lesson;
  const copy = (value) => JSON.parse(JSON.stringify(value));
  const first = { x: [data.x], weights: data.weights, bias: [data.bias], gate: data.gate, residual: false };
  const state = { ...copy(first), kinds: new Set(["plain", "highway -4", "residual, batch norm"]) };

  // y = open·H(x) + kept·x: of a gate T and 1 - T, of a residual layer 1 and 1.
  const block = (x, weights, bias, [open, kept]) => {
    const h = weights.map((row, i) => Math.max(0, row.reduce((sum, w, j) => sum + w * x[j], bias[i])));
    return {
      h,
      y: h.map((value, i) => open * value + kept * x[i]),
      jacobian: weights.map((row, i) => row.map((w, j) => open * (h[i] > 0 ? w : 0) + (i === j ? kept : 0))),
    };
  };
  // For tests: the arithmetic of this page, to be held against the library's.
  window.residual = block;

  const signed = (value) => (value < 0 ? `(${number(value)})` : number(value));
  const text = (x, y, said, more = {}) => draw("text", { x, y, "text-anchor": "middle", ...more }, said);

  const flow = (x, found, [open, kept], names) => {
    const boxed = (left, top, width, name, values) => [
      draw("rect", { x: left, y: top, width, height: 72, rx: 8, class: "box" }),
      text(left + width / 2, top + 21, name, { class: "strong" }),
      ...values.map((value, i) => text(left + width / 2, top + 42 + 20 * i, number(value))),
    ];
    const line = (d, share, kind) => draw("path", { d, class: kind, "stroke-width": Math.max(1, 12 * Math.min(1, share)), opacity: share === 0 ? 0.35 : 1, "stroke-dasharray": share === 0 ? "4 5" : "none" });
    id("flow").replaceChildren(
      line("M74 116C110 116 96 46 140 46", open, "layer"),
      line("M220 46C300 46 270 116 338 116", open, "layer"),
      line("M74 116C110 116 96 190 150 190H230C300 190 270 116 338 116", kept, "carried"),
      ...boxed(4, 80, 72, "x", x),
      ...boxed(140, 6, 84, "H(x)", found.h),
      draw("circle", { cx: 338, cy: 116, r: 15, class: "box" }),
      text(338, 122, "+", { class: "strong" }),
      draw("path", { d: "M353 116H364", class: "arrow" }),
      ...boxed(364, 80, 74, "y", found.y),
      text(316, 42, `H(x) · ${names[0]}`, { class: "halo paper" }),
      text(190, 220, `x carried on · ${names[1]}`, { class: "halo paper" }),
    );
  };

  const view = () => {
    const [x] = state.x;
    const [bias] = state.bias;
    const ways = state.residual ? [1, 1] : [state.gate, 1 - state.gate];
    const found = block(x, state.weights, bias, ways);
    const [open, kept] = ways.map((value) => number(value));
    flow(x, found, ways, state.residual ? ["1", "1"] : [`T = ${open}`, kept]);
    id("sum").textContent = [
      ...found.h.map((value, i) => `H${i} = max(0, ${state.weights[i].map((w, j) => `${signed(w)}·${signed(x[j])}`).join(" + ")} + ${signed(bias[i])}) = ${number(value)}`),
      ...found.y.map((value, i) => `y${i} = ${open}·${signed(found.h[i])} + ${kept}·${signed(x[i])} = ${number(value)}`),
      ...found.jacobian.map((row, i) => `dy${i}/dx${i} = ${open}·${signed(found.h[i] > 0 ? state.weights[i][i] : 0)} + ${kept} = ${number(row[i])}`),
    ].join("\n");
    for (const field of document.querySelectorAll(".gate")) field.value = state.gate;
    for (const field of document.querySelectorAll(".gate-said")) field.textContent = number(state.gate);
    document.querySelector(".gate").disabled = state.residual;
    chart();
  };

  // Fifty layers: the library's values, none between.
  const at = () => data.gates.reduce((best, gate, k) => (Math.abs(gate - state.gate) < Math.abs(data.gates[best] - state.gate) ? k : best), 0);
  const power = (value) => (value >= 0.001 && value < 10000 ? String(Number(value.toPrecision(2))) : value.toExponential(1));
  const DASHES = ["none", "9 3", "6 4", "3 3", "12 3 2 3", "2 2"];
  const chart = () => {
    const measure = id("measure").value;
    const { named, fixed } = data.measured[id("start").value];
    const now = fixed[at()];
    const lines = Object.keys(named).filter((kind) => state.kinds.has(kind))
      .map((kind) => ({ name: kind, values: named[kind][measure], dash: DASHES[Object.keys(named).indexOf(kind)], look: "other" }));
    lines.push({ name: `T = ${number(state.gate)}`, values: now[measure], dash: "none", look: "path" });
    const log = measure === "gradient";
    const every = lines.flatMap((line) => line.values).filter((value) => value > 0);
    const scale = (value) => (log ? Math.log10(Math.max(value, 1e-30)) : value);
    const low = log ? Math.floor(scale(Math.min(...every, 1e-3))) : 0;
    const high = log ? Math.ceil(scale(Math.max(...every, 1))) : 1;
    const x = (layer) => 52 + (375 * (layer - 1)) / (data.depth - 1);
    const y = (value) => 14 + (272 * (high - scale(value))) / (high - low);
    const ticks = [];
    const step = log ? Math.ceil((high - low) / 6) : 0.25;
    for (let tick = high; tick >= low; tick -= step) ticks.push(tick);
    const drawn = ticks.flatMap((tick) => {
      const place = 14 + (272 * (high - tick)) / (high - low);
      const name = text(46, place + 4, "", { "text-anchor": "end" });
      if (log) name.append("10", draw("tspan", { dy: -5, "font-size": "75%" }, String(tick)));
      else name.append(String(tick));
      return [draw("line", { x1: 52, x2: 427, y1: place, y2: place, class: "rule" }), name];
    });
    const marks = [1, ...Array.from({ length: Math.floor(data.depth / 10) }, (_, k) => 10 * (k + 1))];
    for (const layer of marks) drawn.push(text(x(layer), 306, String(layer)));
    drawn.push(text(240, 328, "layer"));
    for (const { values, dash, look } of lines) {
      drawn.push(draw("polyline", { points: values.map((value, k) => `${x(k + 1).toFixed(1)},${y(value).toFixed(1)}`).join(" "), class: look, "stroke-dasharray": dash }));
    }
    // Gradients lie apart at the first layer, so that their lines can be named there. Likenesses end
    // at one place: the checkboxes show which line is whose.
    let place = 0;
    for (const { name, values, look } of log ? [...lines].sort((p, q) => y(p.values[0]) - y(q.values[0])) : []) {
      place = Math.max(y(values[0]) - 5, place + 18);
      drawn.push(text(60, Math.min(place, 300), name, { "text-anchor": "start", class: look === "path" ? "halo paper strong" : "halo paper" }));
    }
    id("chart").replaceChildren(...drawn);
    const [from, to] = [now.gradient[0], now.gradient[data.depth - 1]];
    const share = (1 - state.gate) ** (data.depth - 1);
    id("depth-said").textContent = [
      `T = ${number(state.gate)} in every layer: the gradient is ${power(from)} at layer 1 and ${power(to)} at layer ${data.depth}: ${power(from / to)} times as large.`,
      `Of the first layer's output, (1 - T)^${data.depth - 1} = ${power(share)} is carried to the end.`,
      `Two images point in nearly one direction if their likeness is near 1: at the end it is ${number(now.likeness[data.depth - 1], 3)}.`,
    ].join("\n");
    id("measure-about").textContent = log
      ? "Norm of the loss's gradient at the output of each layer, before any training; logarithmic. Small weights let it vanish on its way back through plain layers; without a gate, x + H(x) can make it grow instead, one reason for the batch norms of residual networks."
      : "Mean cosine between what the layers make of two different images, before any training. With larger weights the gradient of the plain stack does not vanish, and yet its images become alike: it can hardly tell them apart, which is as bad.";
  };

  const layout = () => {
    for (const [name, said] of [["x", "input"], ["weights", "weight"], ["bias", "bias"]]) lesson.editable(id(name), state[name], said, view);
    id("residual").checked = state.residual;
    view();
  };
  for (const field of document.querySelectorAll(".gate")) {
    field.addEventListener("input", () => { state.gate = data.gates.reduce((best, gate) => (Math.abs(gate - field.value) < Math.abs(best - field.value) ? gate : best)); view(); });
  }
  id("residual").addEventListener("change", () => { state.residual = id("residual").checked; view(); });
  id("reset").addEventListener("click", () => { Object.assign(state, copy(first)); layout(); });
  for (const name of ["start", "measure"]) id(name).addEventListener("change", chart);
  id("kinds").append(...Object.keys(data.measured.small.named).map((kind) => {
    const box = make("input", { type: "checkbox", checked: state.kinds.has(kind) });
    box.addEventListener("change", () => { if (box.checked) state.kinds.add(kind); else state.kinds.delete(kind); chart(); });
    const bias = kind.startsWith("highway") ? ` (T about ${number(data.biases[kind.split(" ")[1]], 2)})` : "";
    const sample = draw("svg", { class: "sample", viewBox: "0 0 36 8", "aria-hidden": "true" }, draw("path", { d: "M0 4H36", class: "other", "stroke-dasharray": DASHES[Object.keys(data.measured.small.named).indexOf(kind)] }));
    return make("label", {}, box, sample, `${kind}${bias}`);
  }));
  id("depth-about").textContent = `The same gate in each of ${data.depth} untrained layers, on ${data.images} digits. The library computed the gradient of the loss at every layer's output; slide T (the orange line), and compare. A highway layer learns its gates; they start at the bias that its name says.`;
  lesson.arrows(() => { state.gate = Math.max(0, Number((state.gate - 0.05).toFixed(2))); view(); }, () => { state.gate = Math.min(1, Number((state.gate + 0.05).toFixed(2))); view(); });
  layout();
})();
