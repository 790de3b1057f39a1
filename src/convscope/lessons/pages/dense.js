(() => {
  const { data, id, draw, number } = lesson;
  const { axis, surface, points, classes, minimum } = data;
  const copy = (value) => JSON.parse(JSON.stringify(value));

  // The layer, softmax, cross-entropy and its gradient.
  const layer = (x, weights, bias) => weights.map((row, c) => row.reduce((sum, w, i) => sum + w * x[i], bias[c]));
  const softmax = (logits) => {
    const most = Math.max(...logits);
    const powers = logits.map((z) => Math.exp(z - most));
    const total = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / total);
  };
  // -ln of a share, from the logits: a share of 0 would give infinity.
  const crossEntropy = (logits, label) => {
    const most = Math.max(...logits);
    return most + Math.log(logits.reduce((sum, z) => sum + Math.exp(z - most), 0)) - logits[label];
  };
  const learn = (x, weights, bias, label) => {
    const logits = layer(x, weights, bias);
    const shares = softmax(logits);
    const byBias = shares.map((share, c) => share - (c === label ? 1 : 0));
    return { logits, shares, loss: crossEntropy(logits, label), byBias, byWeights: byBias.map((slope) => x.map((value) => slope * value)) };
  };
  // Two weights of the second class move; the mean over all points.
  const landscape = ([a, b]) => {
    const weights = [data.weights[0], [a, b, data.weights[1][2]]];
    const found = points.map((x, n) => learn(x, weights, data.bias, classes[n]));
    const mean = (of) => found.reduce((sum, one) => sum + of(one), 0) / found.length;
    return { loss: mean((one) => one.loss), slope: [0, 1].map((i) => mean((one) => one.byWeights[1][i])), found };
  };
  const stepFrom = (place, rate) => {
    const { slope } = landscape(place);
    return place.map((value, i) => value - rate * slope[i]);
  };
  const descend = (start, rate, steps) => {
    const path = [[...start]];
    for (let k = 0; k < steps; k += 1) path.push(stepFrom(path[k], rate));
    return path;
  };
  // For tests: the arithmetic of this page, to be held against the library's.
  window.dense = { learn, landscape: (place) => { const { loss, slope } = landscape(place); return { loss, slope }; }, descend };

  // One input: numbers that can be changed.
  const first = { x: [data.x], weights: data.weights, bias: [data.bias], label: data.label };
  let own = copy(first);
  // Two digits: 0.5, not 0.5012.
  const power = (field) => Number((10 ** Number(field.value)).toPrecision(2));
  const signed = (value) => (value < 0 ? `(${number(value)})` : number(value));
  const fields = (place, rows, name) => lesson.editable(id(place), rows, name, show);
  const layout = () => {
    fields("x", own.x, "input");
    fields("weights", own.weights, "weight");
    fields("bias", own.bias, "bias");
    id("label").value = own.label;
    show();
  };
  const table = (place, rows, look = () => "") => lesson.cells(id(place), rows.length, rows[0].length, { value: (r, c) => number(rows[r][c]), look });
  function show() {
    const [x] = own.x;
    const [bias] = own.bias;
    const found = learn(x, own.weights, bias, own.label);
    const chosen = (r, c) => (c === own.label ? "now" : "");
    table("logits", [found.logits]);
    table("shares", [found.shares], chosen);
    table("loss", [[found.loss]]);
    table("by-weights", found.byWeights);
    table("by-bias", [found.byBias]);
    const rate = power(id("own-rate"));
    id("own-rate-said").textContent = number(rate);
    const powers = found.logits.map((z) => number(Math.exp(z)));
    id("sum").textContent = [
      ...own.weights.map((row, c) => `z${c} = ${row.map((w, i) => `${signed(w)}·${signed(x[i])}`).join(" + ")} + ${signed(bias[c])} = ${number(found.logits[c])}`),
      `p${own.label} = e^z${own.label} / (e^z0 + e^z1) = ${powers[own.label]} / (${powers.join(" + ")}) = ${number(found.shares[own.label])}`,
      `loss = -ln(p${own.label}) = ${number(found.loss)}`,
      ...found.byBias.map((slope, c) => `dL/dz${c} = p${c} - ${c === own.label ? 1 : 0} = ${number(slope)}`),
      `dL/dW[1][0] = dL/dz1 · x0 = ${signed(found.byBias[1])}·${signed(x[0])} = ${number(found.byWeights[1][0])}`,
      `A step makes W[1][0] = ${number(own.weights[1][0])} - ${number(rate)}·${signed(found.byWeights[1][0])} = ${number(own.weights[1][0] - rate * found.byWeights[1][0])}`,
    ].join("\n");
  }
  id("own-rate").value = Math.log10(data.rate);
  id("own-rate").addEventListener("input", show);
  id("label").addEventListener("change", () => { own.label = Number(id("label").value); show(); });
  id("own-step").addEventListener("click", () => {
    const found = learn(own.x[0], own.weights, own.bias[0], own.label);
    const rate = power(id("own-rate"));
    own.weights.forEach((row, c) => row.forEach((_, i) => { row[i] -= rate * found.byWeights[c][i]; }));
    own.bias[0].forEach((_, c) => { own.bias[0][c] -= rate * found.byBias[c]; });
    layout();
  });
  id("own-reset").addEventListener("click", () => { own = copy(first); id("own-rate").value = Math.log10(data.rate); layout(); });
  layout();

  // The landscape, from the library's values.
  const low = axis[0];
  const high = axis[axis.length - 1];
  const box = { left: 44, top: 10, side: 370 };
  const across = (a) => box.left + (box.side * (a - low)) / (high - low);
  const down = (b) => box.top + (box.side * (high - b)) / (high - low);
  const LEVELS = [0.35, 0.4, 0.5, 0.7, 1, 1.5, 2, 3, 4, 5, 6, 7, 8];
  // Marching squares: the pieces of a contour line in each cell of the grid.
  const contour = (level) => {
    const pieces = [];
    for (let r = 0; r + 1 < axis.length; r += 1) {
      for (let c = 0; c + 1 < axis.length; c += 1) {
        const corners = [[r, c], [r, c + 1], [r + 1, c + 1], [r + 1, c]];
        const cut = corners.flatMap(([i, j], k) => {
          const [m, n] = corners[(k + 1) % 4];
          const [one, two] = [surface[i][j], surface[m][n]];
          if ((one < level) === (two < level)) return [];
          const share = (level - one) / (two - one);
          return [[across(axis[j] + share * (axis[n] - axis[j])), down(axis[i] + share * (axis[m] - axis[i]))]];
        });
        for (let k = 0; k + 1 < cut.length; k += 2) pieces.push(`M${cut[k].map((v) => v.toFixed(1))}L${cut[k + 1].map((v) => v.toFixed(1))}`);
      }
    }
    return pieces.join("");
  };
  const text = (x, y, said, more = {}) => draw("text", { x, y, "text-anchor": "middle", ...more }, said);
  const background = draw("g");
  const trail = draw("g");
  const clip = draw("clipPath", { id: "inside" }, draw("rect", { x: box.left, y: box.top, width: box.side, height: box.side }));
  trail.setAttribute("clip-path", "url(#inside)");
  id("plot").append(clip, background, trail);
  background.append(draw("rect", { x: box.left, y: box.top, width: box.side, height: box.side, class: "area" }));
  const floor = LEVELS.length;
  LEVELS.forEach((level, k) => {
    background.append(draw("path", { d: contour(level), class: "contour", "stroke-width": (0.7 + (1.6 * (floor - k)) / floor).toFixed(2) }));
  });
  // Each line is named where it meets a column near the left border, or a row near the upper one.
  const name = (line, place) => {
    let last = -Infinity;
    for (const level of LEVELS.filter((one) => one >= 0.5).reverse()) {
      const at = line.findIndex((value, i) => i + 1 < line.length && (value < level) !== (line[i + 1] < level));
      if (at < 0) continue;
      const [x, y] = place(at);
      if (Math.abs(x - y - last) < 24) continue;
      last = x - y;
      background.append(text(x, y, String(level), { class: "halo" }));
    }
  };
  name(surface.map((row) => row[3]), (r) => [across(axis[3]), down(axis[r])]);
  name(surface[axis.length - 4], (c) => [across(axis[c]), down(axis[axis.length - 4])]);
  for (const tick of [-4, -2, 0, 2, 4]) {
    background.append(text(across(tick), box.top + box.side + 16, String(tick)), text(box.left - 14, down(tick) + 4, String(tick)));
  }
  background.append(text(box.left + box.side / 2, box.top + box.side + 34, "weight 1 (of input 0)"));
  background.append(text(0, 0, "weight 2 (of input 1)", { transform: `translate(13 ${box.top + box.side / 2}) rotate(-90)` }));
  const cross = 6;
  background.append(draw("path", { d: `M${across(minimum[0]) - cross} ${down(minimum[1])}h${2 * cross}M${across(minimum[0])} ${down(minimum[1]) - cross}v${2 * cross}`, class: "cross" }));
  background.append(text(across(minimum[0]), down(minimum[1]) + 22, "minimum", { class: "halo" }));

  let path = [[...data.start]];
  const rate = () => power(id("rate"));
  const losses = () => path.map((place) => landscape(place).loss);
  const view = () => {
    const now = path[path.length - 1];
    const { loss, slope, found } = landscape(now);
    // Far outside: SVG need not draw what nobody sees.
    const near = path.map((place) => place.map((value) => Math.max(-500, Math.min(500, value))));
    trail.replaceChildren(
      draw("polyline", { points: near.map(([a, b]) => `${across(a)},${down(b)}`).join(" "), class: "path" }),
      ...near.map(([a, b], k) => draw("circle", { cx: across(a), cy: down(b), r: k === near.length - 1 ? 6 : 3, class: "dot" })),
    );
    const next = stepFrom(near[near.length - 1], rate());
    trail.append(draw("line", { x1: across(now[0]), y1: down(now[1]), x2: across(next[0]), y2: down(next[1]), class: "next" }));
    curve();
    const outside = now.some((value) => Math.abs(value) > high) ? " It has left the picture." : "";
    const all = losses();
    const worse = path.length > 5 && Math.min(...all.slice(-3)) > all[0] ? " The loss is higher than at the start: the steps are too long." : "";
    const verdict = rate() > data.longest
      ? `Longer than ${number(data.longest, 2)} (2 / the largest curvature at the minimum), steps leap across the valley and cannot settle.`
      : `Steps up to ${number(data.longest, 2)} can settle at the minimum.`;
    id("descent-said").textContent = [
      `After ${path.length - 1} steps: weights (${number(now[0])}, ${number(now[1])}), loss ${number(loss)}; the least is ${number(data.least)}.${outside}${worse}`,
      `gradient (${number(slope[0])}, ${number(slope[1])})`,
      `next: (${number(now[0])}, ${number(now[1])}) - ${number(rate())}·(${number(slope[0])}, ${number(slope[1])}) = (${stepFrom(now, rate()).map((value) => number(value)).join(", ")})`,
      verdict,
    ].join("\n");
    id("rate-said").textContent = number(rate(), 2);
    [id("start-a").value, id("start-b").value] = path[0].map((value) => number(value, 2));
    lesson.cells(id("points"), Math.ceil(points.length / 6), 6, {
      value: (r, c) => number(found[6 * r + c].shares[classes[6 * r + c]], 2),
      look: (r, c) => (found[6 * r + c].shares[classes[6 * r + c]] < 0.5 ? "lost" : "now"),
      label: (r, c) => `point (${points[6 * r + c].join(", ")}), class ${classes[6 * r + c]}`,
    });
  };
  const curve = () => {
    const all = losses();
    const most = Math.max(...all, 4);
    const least = data.least * 0.95;
    const count = Math.max(20, all.length - 1);
    const x = (k) => 44 + (380 * k) / count;
    const y = (value) => 12 + (200 * Math.log(most / value)) / Math.log(most / least);
    const ticks = [0.5, 1, 2, 5, 10, 20, 50, 100].filter((tick) => tick <= most);
    id("curve").replaceChildren(
      ...ticks.flatMap((tick) => [draw("line", { x1: 44, x2: 424, y1: y(tick), y2: y(tick), class: "rule" }), text(24, y(tick) + 4, String(tick))]),
      draw("line", { x1: 44, x2: 424, y1: y(data.least), y2: y(data.least), class: "goal" }),
      text(424, y(data.least) - 6, `least: ${number(data.least)}`, { "text-anchor": "end", class: "halo" }),
      draw("polyline", { points: all.map((value, k) => `${x(k)},${y(value)}`).join(" "), class: "path" }),
      ...all.map((value, k) => draw("circle", { cx: x(k), cy: y(value), r: 3, class: "dot" })),
      text(44, 236, "0"), text(424, 236, String(count)), text(234, 252, "step"),
    );
  };
  const go = (steps) => {
    for (let k = 0; k < steps; k += 1) path.push(stepFrom(path[path.length - 1], rate()));
    path = path.slice(-201);
    view();
  };
  const from = (place) => { path = [place.map((value) => Math.max(low, Math.min(high, value)))]; view(); };
  id("step").addEventListener("click", () => go(1));
  id("run").textContent = `${data.steps} steps`;
  id("run").addEventListener("click", () => go(data.steps));
  id("reset").addEventListener("click", () => { path = [path[0]]; view(); });
  id("rate").addEventListener("input", view);
  id("plot").addEventListener("click", (event) => {
    const at = id("plot").getBoundingClientRect();
    const scale = 440 / at.width;
    from([low + ((high - low) * ((event.clientX - at.left) * scale - box.left)) / box.side, high - ((high - low) * ((event.clientY - at.top) * scale - box.top)) / box.side]);
  });
  for (const [name, place] of [["start-a", 0], ["start-b", 1]]) {
    id(name).addEventListener("change", () => {
      const given = lesson.typed(id(name).value);
      const start = [...path[0]];
      if (given !== null) start[place] = given;
      from(start);
    });
  }
  lesson.arrows(() => { if (path.length > 1) { path.pop(); view(); } }, () => go(1));
  id("descent-about").textContent = `${points.length} points that the library drew, in two clouds that overlap. All weights stay as they are at first, but two: how much inputs 0 and 1 speak for class 1. Lines join places of the same mean loss. The arrow keys go a step on or back.`;
  id("rate").value = 0;
  view();
})();
