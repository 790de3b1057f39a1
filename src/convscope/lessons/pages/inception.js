(() => {
  const { data, id, make, number, many, cells, editable, slider, whole } = lesson;
  const copy = (value) => JSON.parse(JSON.stringify(value));

  // 1 × 1: a dot product over channels at every pixel.
  const mix = (channels, filters) => filters.map((weights) => channels[0].map((row, r) => row.map((_, c) => weights.reduce((sum, weight, k) => sum + weight * channels[k][r][c], 0))));
  const state = { at: [1, 1] };
  const show = () => {
    const { channels, filters, at: [r, c] } = state;
    const mixed = mix(channels, filters);
    const columns = channels[0][0].length;
    [...document.querySelectorAll("#inputs .cells")].forEach((place) => [...place.children].forEach((node, i) => node.classList.toggle("seen", i === r * columns + c)));
    mixed.forEach((plane, k) => cells(id(`mixed${k}`), plane.length, columns, {
      value: (i, j) => number(plane[i][j]),
      look: (i, j) => (i === r && j === c ? "now" : ""),
      press: (i, j) => { state.at = [i, j]; show(); },
      label: (i, j) => `result ${k + 1}, row ${i + 1}, column ${j + 1}: ${number(plane[i][j])}`,
    }));
    const lines = filters.map((weights, k) => `filter ${k + 1}: ${weights.map((weight, n) => `${number(channels[n][r][c])}·${weight < 0 ? `(${number(weight)})` : number(weight)}`).join(" + ")} = ${number(mixed[k][r][c])}`);
    id("sum").textContent = `Row ${r + 1}, column ${c + 1}\n${lines.join("\n")}`;
  };
  const reset = () => {
    Object.assign(state, { channels: copy(data.channels), filters: copy(data.filters), at: [1, 1] });
    id("inputs").replaceChildren(...state.channels.map((plane, k) => {
      const place = make("div", { role: "group", "aria-label": `Pixels of channel ${k + 1}` });
      editable(place, plane, `channel ${k + 1}`, show);
      return make("figure", { class: "plane" }, make("figcaption", {}, `Channel ${k + 1}`), place);
    }));
    editable(id("filters"), state.filters, "filters", show);
    show();
  };
  const step = (by) => {
    const columns = state.channels[0][0].length;
    const count = state.channels[0].length * columns;
    const next = (state.at[0] * columns + state.at[1] + by + count) % count;
    state.at = [Math.floor(next / columns), next % columns];
    show();
  };
  id("back").addEventListener("click", () => step(-1));
  id("on").addEventListener("click", () => step(1));
  id("reset").addEventListener("click", reset);
  lesson.arrows(() => step(-1), () => step(1));
  reset();

  // Weights and multiply-adds of convolutions that keep the map's size.
  const conv = (kernel, inputs, outputs, side) => { const weights = kernel * kernel * inputs * outputs; return [weights, weights * side * side]; };
  const bottleneck = ({ side, inputs, outputs, reduce, kernel }) => ({
    direct: [conv(kernel, inputs, outputs, side)],
    reduced: [conv(1, inputs, reduce, side), conv(kernel, reduce, outputs, side)],
  });
  const save = () => {
    const given = { kernel: Number(id("kernel").value), inputs: Number(id("inputs-n").value), outputs: Number(id("outputs").value), reduce: Number(id("reduce").value), side: Number(id("side").value) };
    const { direct: [alone], reduced: [first, then] } = bottleneck(given);
    const { kernel, inputs, outputs, reduce, side } = given;
    const [weights, macs] = [first[0] + then[0], first[1] + then[1]];
    const most = Math.max(alone[1], macs);
    for (const [name, value] of [["direct", alone[1]], ["reduced", macs]]) {
      id(`bar-${name}`).style.width = `${60 * value / most}%`;
      id(`macs-${name}`).textContent = many(value);
    }
    const times = alone[1] / macs;
    id("saving").textContent = [
      `Without: ${kernel}·${kernel}·${inputs}·${outputs} = ${many(alone[0])} weights`,
      `  ·${side}·${side} = ${many(alone[1])} multiply-adds`,
      `With: ${inputs}·${reduce} + ${kernel}·${kernel}·${reduce}·${outputs} = ${many(first[0])} + ${many(then[0])} = ${many(weights)} weights`,
      `  ·${side}·${side} = ${many(macs)} multiply-adds`,
      times >= 1 ? `${times.toFixed(1)} times less.` : `${(1 / times).toFixed(1)} times more: this 1 × 1 saves nothing.`,
    ].join("\n");
  };
  id("kernel").value = data.bottleneck.kernel;
  id("kernel").addEventListener("change", save);
  for (const [name, value] of [["inputs-n", "inputs"], ["reduce", "reduce"], ["outputs", "outputs"], ["side", "side"]]) slider(name, data.bottleneck[value], save);
  save();

  // The module: six widths, in the order of GoogLeNet's table.
  const LABELS = ["1 × 1", "before 3 × 3", "3 × 3", "before 5 × 5", "5 × 5", "after the pool"];
  // Branch, kernel, and which width feeds it (-1: the module's input).
  const LAYERS = [[1, 1, -1], [2, 1, -1], [2, 3, 1], [3, 1, -1], [3, 5, 3], [4, 3, null], [4, 1, -1]];
  const moduleRows = (inputs, side, widths) => {
    let at = 0;
    return LAYERS.map(([branch, kernel, from]) => {
      if (from === null) return { branch, kind: "max pool", kernel, outputs: inputs, weights: 0, biases: 0, macs: 0 };
      const outputs = widths[at];
      at += 1;
      const [weights, macs] = conv(kernel, from < 0 ? inputs : widths[from], outputs, side);
      return { branch, kind: "convolution", kernel, outputs, weights, biases: outputs, macs };
    });
  };
  const fields = LABELS.map((label, i) => {
    const field = make("input", { type: "number", id: `width${i}`, min: 1, max: 1024 });
    id("widths").append(make("label", {}, label, field));
    return field;
  });
  const ARROW = "↓";
  const showModule = () => {
    const inputs = whole(id("takes"));
    const side = whole(id("at-side"));
    const rows = moduleRows(inputs, side, fields.map(whole));
    const shape = (channels) => `${channels} × ${side} × ${side}`;
    const title = (row) => `${row.kernel} × ${row.kernel} ${row.kind}`;
    id("before").textContent = `takes ${shape(inputs)}`;
    id("branches").replaceChildren(...[1, 2, 3, 4].map((branch) => make("div", { class: "branch" },
      ...rows.filter((row) => row.branch === branch).flatMap((row) => [
        make("span", { "aria-hidden": "true" }, ARROW),
        make("div", { class: `box ${row.kind === "max pool" ? "pool" : ""}` }, make("b", {}, title(row)), make("span", {}, shape(row.outputs))),
      ]))));
    const ends = [1, 2, 3, 4].map((branch) => rows.filter((row) => row.branch === branch).pop().outputs);
    const sum = ends.reduce((a, b) => a + b);
    id("joint").textContent = `DepthConcat: ${ends.join(" + ")} = ${sum} channels, ${shape(sum)}`;
    id("segments").replaceChildren(...ends.map((channels) => {
      const part = make("span", {}, channels / sum > 0.08 ? String(channels) : "");
      part.style.flexGrow = channels;
      return part;
    }));
    const total = (key) => rows.reduce((all, row) => all + row[key], 0);
    const line = (name, gives, row, look) => make("tr", { class: look }, make("th", { scope: "row" }, name), ...[gives, many(row.weights), many(row.biases), many(row.macs)].map((value) => make("td", { class: "n" }, value)));
    id("costs").replaceChildren(...rows.map((row) => line(`${row.branch}: ${title(row)}`, shape(row.outputs), row, "")),
      line("together", shape(sum), { weights: total("weights"), biases: total("biases"), macs: total("macs") }, "sum"));
  };
  const fill = () => {
    const chosen = data.modules[id("modules").value];
    if (!chosen) return;
    id("takes").value = chosen.inputs;
    id("at-side").value = chosen.side;
    fields.forEach((field, i) => { field.value = chosen.widths[i]; });
    showModule();
  };
  id("modules").append(...Object.keys(data.modules).map((name) => make("option", { value: name }, name)), make("option", { value: "" }, "own"));
  id("modules").addEventListener("change", fill);
  for (const field of [id("takes"), id("at-side"), ...fields]) field.addEventListener("change", () => { id("modules").value = ""; showModule(); });
  fill();

  // DepthConcat.
  const joined = (sizes, placement) => {
    const largest = Math.max(...sizes);
    return sizes.map((size, k) => {
      const before = placement === "centre" ? Math.floor((largest - size) / 2) : 0;
      const inside = (i) => i >= before && i < before + size;
      return Array.from({ length: largest }, (_, r) => Array.from({ length: largest }, (_unused, c) => (inside(r) && inside(c) ? k + 1 : 0)));
    });
  };
  const sizes = data.sizes.map((size, k) => { id(`size${k}`).value = size; return id(`size${k}`); });
  const showJoined = () => {
    const given = sizes.map(whole);
    const placement = id("placement").value;
    const planes = joined(given, placement);
    const largest = Math.max(...given);
    id("joined").replaceChildren(...planes.map((plane, k) => {
      const place = make("div", {});
      cells(place, largest, largest, { value: (r, c) => number(plane[r][c]), look: (r, c) => (plane[r][c] ? "now" : "outside") });
      return make("figure", { class: "plane" }, make("figcaption", {}, `Channel ${k + 1}, from ${given[k]} × ${given[k]}`), place);
    }));
    id("joined-said").textContent = given.map((size) => {
      const before = placement === "centre" ? Math.floor((largest - size) / 2) : 0;
      return `${size} × ${size}: ${largest} − ${size} = ${largest - size} missing, ${before} above and left, ${largest - size - before} below and right`;
    }).join("\n");
  };
  for (const field of [...sizes, id("placement")]) field.addEventListener("change", showJoined);
  showJoined();

  // For tests: the arithmetic of this page, to be held against the library's.
  window.inception = { mix, bottleneck, moduleRows, joined };
})();
