(() => {
  const { data, id, make, draw, number } = lesson;
  const { side, orders, arrangements, networks, summary, losses } = data;
  const state = { at: [3, 3], shown: true, order: [...Array(9).keys()] };
  const shuffled = (image, order) => order.map((from) => image[from]);
  // For tests: the arithmetic of this page, to be held against the library's.
  window.shuffle = { shuffled, sums: (pixels, weights, order) => [pixels.reduce((sum, p, i) => sum + p * weights[i], 0), order.reduce((sum, from, i) => sum + pixels[from] * weights[i], 0)] };

  // 0 is black, 16 white.
  const tint = (node, value) => { const grey = Math.round((255 * value) / 16); node.style.background = `rgb(${grey} ${grey} ${grey})`; };
  const order = () => orders[id("arrangement").value][Number(id("seed").value)];
  const picture = (image) => {
    const canvas = make("canvas", { width: side, height: side });
    const pixels = new ImageData(side, side);
    image.forEach((value, i) => {
      pixels.data.fill(Math.round((255 * value) / 16), 4 * i, 4 * i + 3);
      pixels.data[4 * i + 3] = 255;
    });
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    return canvas;
  };
  const view = () => {
    const image = data.examples[Number(id("digit").value)];
    const now = order();
    const [row, column] = state.at;
    const near = (place) => Math.abs(Math.floor(place / side) - row) <= 1 && Math.abs((place % side) - column) <= 1;
    const fill = (place, from) => {
      lesson.cells(id(place), side, side, {
        value: () => "",
        look: (r, c) => { const old = from(side * r + c); return old === side * row + column ? "mid" : near(old) ? "near" : ""; },
        press: (r, c) => { const old = from(side * r + c); state.at = [Math.floor(old / side), old % side]; view(); },
        label: (r, c) => `row ${r + 1}, column ${c + 1}: ${image[from(side * r + c)]} of 16`,
      });
      [...id(place).children].forEach((node, i) => tint(node, image[from(i)]));
    };
    fill("before", (place) => place);
    fill("after", (place) => now[place]);
    const to = now.indexOf(side * row + column);
    const beside = now.map((from, place) => [from, place]).filter(([from, place]) => near(from) && Math.abs(Math.floor(place / side) - Math.floor(to / side)) <= 1 && Math.abs((place % side) - (to % side)) <= 1).length - 1;
    const all = now.filter((from) => near(from)).length - 1;
    id("said").textContent = `Row ${row + 1}, column ${column + 1} goes to row ${Math.floor(to / side) + 1}, column ${(to % side) + 1}. Of its ${all} neighbours, ${beside} ${beside === 1 ? "is" : "are"} still beside it.`;
    id("toggle").textContent = state.shown ? "Shuffled" : "In order";
    id("toggle").setAttribute("aria-pressed", String(state.shown));
    id("all").replaceChildren(...data.examples.map((each, c) => make("figure", { class: "plane" }, picture(state.shown ? shuffled(each, now) : each), make("figcaption", {}, String(c)))));
  };

  const options = (place, pairs) => id(place).append(...pairs.map(([value, said]) => make("option", { value }, said)));
  options("arrangement", Object.entries(arrangements).filter(([name]) => name !== "in order"));
  options("seed", orders.pixels.map((_, seed) => [seed, `number ${seed + 1}`]));
  options("digit", data.examples.map((_, c) => [c, String(c)]));
  id("digit").value = 3;
  for (const place of ["arrangement", "seed", "digit"]) id(place).addEventListener("change", view);
  id("toggle").addEventListener("click", () => { state.shown = !state.shown; view(); });
  const walk = (by) => { const place = (side * state.at[0] + state.at[1] + by + side * side) % (side * side); state.at = [Math.floor(place / side), place % side]; view(); };
  lesson.arrows(() => walk(-1), () => walk(1));
  view();

  // Accuracies: a dot for each seed, the mean, its interval.
  const text = (x, y, said, more = {}) => draw("text", { x, y, ...more }, said);
  const every = Object.values(data.accuracies).flatMap((by) => Object.values(by).flat());
  const low = Math.floor(50 * Math.min(...every)) / 50;
  const x = (share) => 26 + (384 * (share - low)) / (1 - low);
  const drawn = [];
  for (let tick = low; tick < 1.001; tick += 0.02) drawn.push(draw("line", { x1: x(tick), x2: x(tick), y1: 6, y2: 300, class: "rule" }), text(x(tick), 320, `${Math.round(100 * tick)} %`, { "text-anchor": "middle" }));
  let y = 20;
  for (const [kind, by] of Object.entries(summary)) {
    for (const [name, [mean, least, most]] of Object.entries(by)) {
      const look = kind === "cnn" ? "a" : "b";
      drawn.push(text(26, y, `${networks[kind]}, ${name}`, { class: "halo paper" }));
      drawn.push(draw("line", { x1: x(least), x2: x(most), y1: y + 14, y2: y + 14, class: `range ${look}` }));
      for (const one of data.accuracies[kind][name]) drawn.push(draw("circle", { cx: x(one), cy: y + 14, r: 3, class: `seed ${look}` }));
      drawn.push(draw("path", { d: kind === "cnn" ? `M${x(mean)} ${y + 7}l7 7l-7 7l-7-7z` : `M${x(mean) - 6} ${y + 8}h12v12h-12z`, class: `mean ${look}` }));
      y += 47;
    }
  }
  id("chart").append(...drawn);
  const percent = (value) => `${number(100 * value, 1)} %`;
  const points = (value) => `${value > 0 ? "+" : ""}${number(100 * value, 1)}`;
  id("result").textContent = Object.entries(summary).flatMap(([kind, by]) => Object.entries(by).map(([name, [mean, least, most]]) => {
    const change = losses[kind][name];
    return `${networks[kind]}, ${arrangements[name]}: ${percent(mean)} (${percent(least)} to ${percent(most)})${change ? `; change ${points(change[0])} points (${points(change[1])} to ${points(change[2])})` : ""}`;
  })).join("\n");
  id("about").textContent = `Two small networks of about as many parameters (${data.parameters.fcnn.toLocaleString("en")} and ${data.parameters.cnn.toLocaleString("en")}), each trained by the library on ${data.train} digits and tested on the ${data.test.toLocaleString("en")} others. A dot for each of ${data.seeds} seeds, the mean, and its 95 % interval.`;
  id("caveat").textContent = "Every seed has its own split, shuffling and weights. The splits share digits, so that the true intervals are somewhat wider. The accuracies were computed beforehand; other shufflings above change the pictures only.";

  // Nine pixels and a filter.
  const { patch, weights } = data;
  const nine = () => {
    const now = state.order;
    const [kept, changed] = window.shuffle.sums(patch, weights, now);
    const table = (place, values) => lesson.cells(id(place), 3, 3, { value: (r, c) => number(values[3 * r + c]) });
    table("patch", now.map((from) => patch[from]));
    table("own", now.map((from) => weights[from]));
    table("filter", weights);
    const terms = (those) => now.map((from, i) => { const w = those(from, i); return `${patch[from]}·${w < 0 ? `(${w})` : w}`; }).join(" + ");
    id("sums").textContent = `fully connected: ${terms((from) => weights[from])} = ${number(kept)}\nfilter: ${terms((_, i) => weights[i])} = ${number(changed)}`;
  };
  id("mix").addEventListener("click", () => {
    const now = [...state.order];
    for (let i = now.length - 1; i > 0; i -= 1) { const j = Math.floor(Math.random() * (i + 1)); [now[i], now[j]] = [now[j], now[i]]; }
    state.order = now;
    nine();
  });
  id("sort").addEventListener("click", () => { state.order = [...Array(9).keys()]; nine(); });
  state.order = [...data.order];
  nine();
})();
