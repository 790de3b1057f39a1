(() => {
  const { data, id, make, draw, many, touched } = lesson;

  // Stacks of convolutions with stride 1.
  const fieldsOf = (kernel, layers) => Array.from({ length: layers }, (_, i) => 1 + (i + 1) * (kernel - 1));
  const weightsOf = (kernel, layers, channels) => layers * kernel * kernel * channels * channels;
  const words = ["no", "one", "two", "three", "four", "five", "six"];
  const named = (kernel, layers) => `${words[layers]} ${kernel} × ${kernel}`;
  // The side of these drawings, in their own units.
  const SIDE = 240;
  const squares = (fields, largest) => {
    const unit = SIDE / largest;
    const drawing = draw("svg", { viewBox: `-2 -2 ${SIDE + 4} ${SIDE + 4}`, class: "squares", role: "img", "aria-label": `fields of ${fields.join(", ")} pixels` });
    const lines = Array.from({ length: largest + 1 }, (_, i) => `M${i * unit} 0V${SIDE}M0 ${i * unit}H${SIDE}`).join("");
    drawing.append(draw("path", { class: "mesh", d: lines }));
    [1, ...fields].reverse().forEach((field, i) => {
      const at = (largest - field) / 2 * unit;
      drawing.append(draw("rect", { class: i === fields.length ? "self" : "field", x: at, y: at, width: field * unit, height: field * unit }));
    });
    let above = -100;
    [...fields].reverse().forEach((field) => {
      const at = (largest - field) / 2 * unit;
      if (at - above < 15) return;
      above = at;
      drawing.append(draw("text", { x: at + 4, y: at + 14 }, String(field)));
    });
    return drawing;
  };
  const showStacks = () => {
    const channels = Number(id("channels").value);
    const own = { kernel: Number(id("kernel").value), layers: Math.min(6, Math.max(1, Math.round(Number(id("layers").value)) || 1)) };
    own.fields = fieldsOf(own.kernel, own.layers);
    own.weights = weightsOf(own.kernel, own.layers, 1);
    const all = [...data.stacks, own];
    const largest = Math.max(...all.map((one) => one.fields[one.fields.length - 1]));
    id("channels-said").textContent = String(channels);
    id("for-c").textContent = `C = ${channels}`;
    id("squares").replaceChildren(...all.map((one) => {
      const title = one === own ? `yours: ${named(one.kernel, one.layers)}` : named(one.kernel, one.layers);
      return make("figure", { class: "plane quarter" }, make("figcaption", {}, title), squares(one.fields, largest));
    }));
    const whole = data.stacks[0].weights;
    id("costs").replaceChildren(...all.map((one) => make("tr", {},
      make("th", { scope: "row" }, one === own ? `yours: ${named(one.kernel, one.layers)}` : named(one.kernel, one.layers)),
      make("td", { class: "n" }, String(one.fields[one.fields.length - 1])),
      make("td", { class: "n" }, String(one.weights)),
      make("td", { class: "n" }, many(one.weights * channels * channels)),
      make("td", { class: "n" }, `${Math.round(100 * one.weights / whole)} %`))));
    id("stacks-said").textContent = all.map((one) => `${named(one.kernel, one.layers)}: ${one.layers > 1 ? `${one.layers}·` : ""}${one.kernel}·${one.kernel}·${channels}·${channels} = ${many(one.weights * channels * channels)}`).join("\n");
  };
  id("channels").value = data.channels;
  for (const name of ["channels", "kernel", "layers"]) id(name).addEventListener("input", showStacks);
  showStacks();

  // Networks.
  const state = { net: "vgg16", layer: 0, at: [0, 0], source: null };
  const net = () => data.networks[state.net];
  const layer = () => net().layers[state.layer];
  // What a unit sees: rows and columns from .. to before; null where it sees padding only.
  const seen = (one, at) => {
    const [rows, columns] = at.map((unit) => one.spans[unit]);
    return rows && columns ? { rows, columns } : null;
  };
  // The unit whose field has its middle nearest to a pixel.
  const nearest = (one, pixel) => {
    let best = 0;
    let least = Infinity;
    one.spans.forEach((span, unit) => {
      const away = span ? Math.abs((span[0] + span[1]) / 2 - pixel - 0.5) : Infinity;
      if (away < least) { least = away; best = unit; }
    });
    return best;
  };
  // For tests: the arithmetic of this page, to be held against the library's.
  window.fields = { fieldsOf, weightsOf, seen: (name, at, unit) => seen(data.networks[name].layers[at], unit) };

  const frame = (place, rows, columns) => draw("rect", { class: place, y: rows[0], x: columns[0], height: rows[1] - rows[0], width: columns[1] - columns[0] });
  const picture = () => draw("image", { href: state.url, width: net().input[2], height: net().input[1], preserveAspectRatio: "none" });
  const show = () => {
    const one = layer();
    const units = one.spans.length;
    const [height, width] = net().input.slice(1);
    const box = seen(one, state.at);
    id("map").setAttribute("viewBox", `0 0 ${units} ${units}`);
    const lines = units > 1 && units <= 56 ? Array.from({ length: units - 1 }, (_, i) => `M${i + 1} 0V${units}M0 ${i + 1}H${units}`).join("") : "";
    const [r, c] = state.at;
    id("map").replaceChildren(
      draw("rect", { class: "ground", width: units, height: units }),
      draw("path", { class: "mesh", d: lines }),
      draw("rect", { class: "positive", x: c, y: r, width: 1, height: 1 }),
      draw("circle", { class: "ring", cx: c + 0.5, cy: r + 0.5, r: Math.max(0.4, units / 28) }),
    );
    id("photo").setAttribute("viewBox", `0 0 ${width} ${height}`);
    id("photo").replaceChildren(picture(), ...box ? [frame("casing", box.rows, box.columns), frame("frame", box.rows, box.columns)] : []);
    if (box) id("crop").setAttribute("viewBox", `${box.columns[0]} ${box.rows[0]} ${box.columns[1] - box.columns[0]} ${box.rows[1] - box.rows[0]}`);
    id("crop").replaceChildren(...box ? [picture()] : []);
    id("map-title").textContent = `Units of ${one.name}: ${units} × ${units}`;
    for (const [name, value] of [["row", r], ["column", c]]) {
      id(name).max = units;
      id(name).value = value + 1;
      id(name).disabled = units === 1;
    }
    const before = state.layer ? net().layers[state.layer - 1] : { field: 1, jump: 1 };
    const steps = (one.field - before.field) / before.jump;
    const sum = one.jump !== null && before.jump !== null && Number.isInteger(steps) ? ` = ${before.field} + ${steps}·${before.jump}` : "";
    const clipped = box ? `Of the photo: rows ${box.rows[0] + 1} to ${box.rows[1]}, columns ${box.columns[0] + 1} to ${box.columns[1]}.` : "Of the photo: nothing but padding.";
    id("said").textContent = `${one.name}, unit in row ${r + 1}, column ${c + 1}. Its field is ${one.field} × ${one.field} pixels${one.field > 1 ? sum : ""}.\n${clipped}`;
    [...id("table").children].forEach((row, i) => {
      row.classList.toggle("chosen", i === state.layer);
      row.querySelector("button").setAttribute("aria-pressed", String(i === state.layer));
    });
  };
  const middle = () => { const half = Math.floor(layer().spans.length / 2); state.at = [half, half]; };
  const choose = (at) => { state.layer = at; middle(); show(); };
  const table = () => {
    id("table").replaceChildren(...net().layers.map((one, i) => {
      const button = make("button", { type: "button", class: "pick" }, one.name);
      button.addEventListener("click", () => choose(i));
      const units = one.spans.length;
      const cells = [one.channels, `${units} × ${units}`, one.field, one.jump === null ? "" : one.jump, many(one.weights), many(one.macs)];
      return make("tr", {}, make("th", { scope: "row" }, button), make("td", {}, one.kind), ...cells.map((value) => make("td", { class: "n" }, String(value))));
    }));
    const [channels, height, width] = net().input;
    id("totals").textContent = `${state.net} takes ${channels} × ${height} × ${width}; ${many(net().weights)} weights, ${many(net().macs)} multiply-adds in all.`;
  };

  // The photo, its middle square, at the network's size; grey where the network takes one channel.
  const fit = () => {
    const [channels, height, width] = net().input;
    const canvas = make("canvas", { width, height });
    const context = canvas.getContext("2d");
    const { source } = state;
    const side = Math.min(source.width, source.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(source, (source.width - side) / 2, (source.height - side) / 2, side, side, 0, 0, width, height);
    if (channels === 1) {
      const pixels = context.getImageData(0, 0, width, height);
      for (let i = 0; i < pixels.data.length; i += 4) pixels.data.fill(0.299 * pixels.data[i] + 0.587 * pixels.data[i + 1] + 0.114 * pixels.data[i + 2], i, i + 3);
      context.putImageData(pixels, 0, 0);
    }
    state.url = canvas.toDataURL("image/png");
  };
  // The chosen row in the middle of the table; the page itself does not scroll.
  const inView = () => {
    const row = id("table").children[state.layer];
    const box = id("table").closest(".scroll");
    box.scrollTop += row.getBoundingClientRect().top - box.getBoundingClientRect().top - box.clientHeight / 2;
  };
  const open = () => { table(); fit(); choose(Math.min(state.layer, net().layers.length - 1)); inView(); };
  id("nets").append(...Object.keys(data.networks).map((name) => make("option", { value: name }, name)));
  id("nets").value = state.net;
  id("nets").addEventListener("change", () => {
    state.net = id("nets").value;
    state.layer = Math.floor(net().layers.length / 2);
    open();
  });
  id("middle").addEventListener("click", () => { middle(); show(); });
  id("row").addEventListener("input", () => { state.at[0] = Number(id("row").value) - 1; show(); });
  id("column").addEventListener("input", () => { state.at[1] = Number(id("column").value) - 1; show(); });
  const follow = (place, take) => {
    place.addEventListener("pointerdown", take);
    place.addEventListener("pointermove", (event) => { if (event.buttons) take(event); });
  };
  follow(id("map"), (event) => {
    const units = layer().spans.length;
    state.at = touched(id("map"), event, units, units);
    show();
  });
  follow(id("photo"), (event) => {
    state.at = touched(id("photo"), event, ...net().input.slice(1)).map((pixel) => nearest(layer(), pixel));
    show();
  });
  lesson.photo(id("drop"), (bitmap) => {
    state.source = bitmap;
    id("fault").textContent = "";
    fit();
    show();
  }, (text) => { id("fault").textContent = text; });

  const first = new Image();
  first.addEventListener("load", () => { state.source = first; state.layer = 9; open(); });
  first.src = data.photo;
})();
