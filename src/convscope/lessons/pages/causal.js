(() => {
  const { data, id, draw, number, typed, cells, slider, whole } = lesson;

  // Which steps an output reads, the oldest first; negative ones lie before the series.
  const reads = (step, size, dilation) => Array.from({ length: size }, (_, k) => step - (size - 1 - k) * dilation);
  const convolve = (series, filter, dilation) => series.map((_, step) => reads(step, filter.length, dilation)
    .reduce((sum, place, k) => sum + (place < 0 ? 0 : series[place]) * filter[k], 0));
  const lookBack = (kernel, dilations) => dilations.reduce((sum, dilation) => sum + (kernel - 1) * dilation, 0);
  // What a unit is computed from: the steps of each row up to its own, the input first.
  const lit = (kernel, dilations, row, step) => {
    const rows = Array.from({ length: row + 1 }, () => new Set());
    rows[row].add(step);
    for (let r = row; r > 0; r -= 1) for (const at of rows[r]) for (const place of reads(at, kernel, dilations[r - 1])) if (place >= 0) rows[r - 1].add(place);
    return rows.map((steps) => [...steps].sort((a, b) => a - b));
  };
  // As convscope.forecast.depth has it.
  const dilationsFor = (wanted, kernel) => {
    const found = [];
    let reached = 0;
    while (reached < wanted) {
      const unit = Math.max(1, Math.floor(2 ** found.length / 8));
      const needed = Math.ceil((wanted - reached) / ((kernel - 1) * unit)) * unit;
      found.push(Math.min(2 ** found.length, needed));
      reached += (kernel - 1) * found[found.length - 1];
    }
    return found;
  };
  // For tests: the arithmetic of this page, to be held against the library's.
  window.causal = { convolve, lookBack, lit, dilationsFor };

  // The sums.
  const state = { at: 0 };
  const LONGEST = 60;
  const given = (name, least) => {
    const values = id(`${name}-text`).value.trim().split(/[\s;]+/).map(typed);
    if (values.includes(null)) return `The ${name} is numbers, with spaces between them.`;
    if (values.length < least || values.length > LONGEST) return `The ${name} has ${least} to ${LONGEST} numbers.`;
    state[name] = values;
    return "";
  };
  const show = () => {
    const { series, filter, dilation } = state;
    const before = (filter.length - 1) * dilation;
    state.at = Math.min(state.at, series.length - 1);
    const result = convolve(series, filter, dilation);
    const places = reads(state.at, filter.length, dilation);
    const padded = Array.from({ length: before + series.length }, (_, i) => i - before);
    cells(id("series"), 1, padded.length, {
      value: (_, c) => number(padded[c] < 0 ? 0 : series[padded[c]]),
      look: (_, c) => `${padded[c] < 0 ? "outside" : ""} ${places.includes(padded[c]) ? "seen" : ""}`,
    });
    cells(id("weights"), 1, padded.length, {
      value: (_, c) => (places.includes(padded[c]) ? number(filter[places.indexOf(padded[c])]) : ""),
      look: (_, c) => (places.includes(padded[c]) ? "seen" : "gap"),
    });
    cells(id("result"), 1, series.length, {
      value: (_, c) => number(result[c]),
      look: (_, c) => (c === state.at ? "now" : ""),
      press: (_, c) => { state.at = c; show(); },
      label: (_, c) => `result at step ${c + 1}: ${number(result[c])}`,
    });
    id("result").style.setProperty("--before", before);
    const terms = places.map((place, k) => `${number(place < 0 ? 0 : series[place])}·${filter[k] < 0 ? `(${number(filter[k])})` : number(filter[k])}`);
    id("sum").textContent = `Step ${state.at + 1}${places[0] < 0 ? "   (0 before the series)" : ""}\n${terms.join(" + ")} = ${number(result[state.at])}`;
  };
  const take = () => {
    const fault = given("series", 1) || given("filter", 1);
    id("fault").textContent = fault;
    state.dilation = whole(id("dilation"));
    if (!fault) show();
  };
  const step = (by) => { state.at = (state.at + by + state.series.length) % state.series.length; show(); };
  for (const name of ["series-text", "filter-text", "dilation"]) id(name).addEventListener("change", take);
  const reset = () => {
    id("series-text").value = data.series.map((x) => number(x)).join(" ");
    id("filter-text").value = data.filter.map((x) => number(x)).join(" ");
    id("dilation").value = data.dilation;
    state.at = 0;
    take();
  };
  id("back").addEventListener("click", () => step(-1));
  id("on").addEventListener("click", () => step(1));
  id("reset").addEventListener("click", reset);
  lesson.arrows(() => step(-1), () => step(1));
  reset();

  // Stacks: distances of the drawing, pixels; so many steps fit beside each other on a wide screen.
  const [ACROSS, UP, LEFT, TOP, BOTTOM] = [26, 54, 62, 18, 34];
  const MOST = 33;
  const chosen = {};
  const settings = () => {
    const kernel = Number(id("kernel").value);
    const layers = Number(id("layers").value);
    const base = Number(id("base").value);
    const dilated = Array.from({ length: layers }, (_, i) => base ** i);
    const steps = Math.min(MOST, Math.max(8, lookBack(kernel, dilated) + 3));
    return { kernel, layers, steps, stacks: { plain: Array(layers).fill(1), dilated } };
  };
  const place = (row, at, layers) => [LEFT + (at + 0.5) * ACROSS, TOP + (layers - row) * UP];
  const drawStack = (name) => {
    const { kernel, layers, steps, stacks } = settings();
    const dilations = stacks[name];
    const [row, at] = chosen[name];
    const found = lit(kernel, dilations, row, at).map((some) => new Set(some));
    const isLit = (r, t) => r < found.length && found[r].has(t);
    const [width, height] = [LEFT + steps * ACROSS + 8, TOP + layers * UP + BOTTOM];
    const drawing = id(name);
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    drawing.setAttribute("width", width);
    drawing.setAttribute("height", height);
    const [dim, bright, units] = [[], [], []];
    for (let r = 0; r <= layers; r += 1) {
      units.push(draw("text", { x: 0, y: place(r, 0, layers)[1] + 4 }, r ? `d = ${dilations[r - 1]}` : "series"));
      for (let t = 0; t < steps; t += 1) {
        const [x, y] = place(r, t, layers);
        units.push(draw("circle", { class: r === row && t === at ? "chosen" : isLit(r, t) ? "lit" : "unit", cx: x, cy: y, r: r === row && t === at ? 8 : 6 }));
        if (r) for (const from of reads(t, kernel, dilations[r - 1])) {
          if (from < 0) continue;
          const [x0, y0] = place(r - 1, from, layers);
          (isLit(r, t) ? bright : dim).push(`M${x} ${y}L${x0} ${y0}`);
        }
      }
    }
    const oldest = Math.min(...found[0]);
    const back = lookBack(kernel, dilations.slice(0, row));
    const under = (t, words, anchor) => draw("text", { x: place(0, t, layers)[0], y: height - 6, "text-anchor": anchor }, words);
    const labels = [under(at, "now", "middle")];
    if (at < back) labels.push(under(0, "further back", "start"));
    else if (at - oldest > 2) labels.push(under(oldest, `${at - oldest} back`, "middle"));
    drawing.replaceChildren(draw("path", { class: "dim", d: dim.join("") }), draw("path", { class: "bright", d: bright.join("") }), ...units, ...labels);
    const sum = dilations.slice(0, row).map((dilation) => `${kernel - 1}·${dilation}`).join(" + ");
    const cut = at < back ? `\nFrom step ${at + 1} of this drawing that reaches beyond its left end: to earlier steps, or to zeros before the series.` : "";
    id(`${name}-said`).textContent = `${row === layers ? "An output" : row ? `A unit of layer ${row}` : "A step of the series"} looks back ${row ? `${sum} = ${back}` : "0"} steps, and sees ${back + 1} with its own.${cut}`;
  };
  const drawBoth = () => { drawStack("plain"); drawStack("dilated"); };
  const output = () => {
    const { layers } = settings();
    for (const name of ["plain", "dilated"]) chosen[name] = [layers, Number(id("output").value) - 1];
    drawBoth();
  };
  const changed = () => {
    const { steps } = settings();
    id("output").max = steps;
    id("output").value = steps;
    id("output-said").textContent = steps;
    output();
    for (const name of ["plain", "dilated"]) id(name).parentElement.scrollLeft = 1e6;
    deep();
  };
  const deep = () => {
    const wanted = Number(id("wanted").value);
    const kernel = Number(id("kernel").value);
    const dilations = dilationsFor(wanted, kernel);
    const plain = Math.ceil(wanted / (kernel - 1));
    const many = (count) => (count === 1 ? "1 layer" : `${count} layers`);
    id("deep").textContent = [
      `To look back ${wanted} steps with kernel size ${kernel}:`,
      `without dilation ${many(plain)}: ${plain}·${kernel - 1} = ${plain * (kernel - 1)}`,
      `with dilations ${dilations.join(", ")}: ${many(dilations.length)}, ${dilations.map((dilation) => `${kernel - 1}·${dilation}`).join(" + ")} = ${lookBack(kernel, dilations)}`,
    ].join("\n");
  };
  for (const name of ["plain", "dilated"]) {
    id(name).addEventListener("click", (event) => {
      const { layers, steps } = settings();
      const box = id(name).getBoundingClientRect();
      const x = event.clientX - box.left - LEFT;
      const t = Math.floor(x / ACROSS);
      const r = layers - Math.round((event.clientY - box.top - TOP) / UP);
      if (t < 0 || t >= steps || r < 0 || r > layers) return;
      chosen[name] = [r, t];
      drawStack(name);
    });
  }
  const first = data.stacks.dilated;
  slider("kernel", first.kernel, changed);
  slider("layers", first.dilations.length, changed);
  slider("base", first.dilations[1], changed);
  slider("output", 1, output);
  slider("wanted", data.wanted, deep);
  changed();
})();
