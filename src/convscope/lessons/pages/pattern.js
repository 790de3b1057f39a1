(() => {
  const { data, id, draw, number, cells, editable, touched } = lesson;
  const side = data.filter.length;
  const ink = Math.max(...data.curve.flat());
  const copy = (rows) => rows.map((row) => [...row]);
  const state = { patch: [], filter: [], picture: [], at: [0, 0], pen: false };

  // Everything that is computed.
  const window7 = (picture, at) => Array.from({ length: side }, (_, r) => picture[at[0] + r].slice(at[1], at[1] + side));
  const answer = (patch, filter) => patch.flat().reduce((sum, pixel, i) => sum + pixel * filter[Math.floor(i / side)][i % side], 0);
  const slide = (picture, filter) => Array.from({ length: picture.length - side + 1 }, (_, r) => Array.from(
    { length: picture[0].length - side + 1 }, (_unused, c) => answer(window7(picture, [r, c]), filter)));
  const hottest = (answers) => {
    const values = answers.flat();
    const best = values.indexOf(values.reduce((a, b) => Math.max(a, b)));
    return [Math.floor(best / answers[0].length), best % answers[0].length];
  };
  // For tests: the arithmetic of this page, to be held against the library's.
  window.pattern = { answer, slide, hottest };

  const written = (patch, filter) => {
    const lines = filter.map((weights, r) => weights.map((weight, c) => [patch[r][c], weight]).filter((pair) => pair[1])
      .map(([pixel, weight]) => `${number(pixel)}·${weight < 0 ? `(${number(weight)})` : number(weight)}`).join(" + ")).filter((line) => line);
    return `${lines.join("\n + ") || "0"}\n = ${number(answer(patch, filter))}`;
  };

  // The patch and the filter.
  const mark = () => {
    for (const place of [id("patch"), id("filter")]) {
      [...place.children].forEach((node, i) => node.classList.toggle("seen", state.filter[Math.floor(i / side)][i % side] !== 0));
    }
    [...id("patch").children].forEach((node, i) => node.classList.toggle("now", state.pen && state.patch[Math.floor(i / side)][i % side] !== 0));
    id("row7").checked = state.filter[data.row7[0]][data.row7[1]] === data.weight;
    id("sum").textContent = written(state.patch, state.filter);
  };
  const own = () => { id("patches").value = "own"; mark(); };
  const layPatch = () => {
    const place = id("patch");
    if (state.pen) {
      cells(place, side, side, {
        value: (r, c) => number(state.patch[r][c]),
        press: (r, c) => { state.patch[r][c] = state.patch[r][c] ? 0 : ink; layPatch(); own(); },
        label: (r, c) => `patch, row ${r + 1}, column ${c + 1}: ${number(state.patch[r][c])}`,
      });
    } else editable(place, state.patch, "patch", own);
    mark();
  };
  const layFilter = () => { editable(id("filter"), state.filter, "filter", all); all(); };

  // The drawing and the map of answers: squares of one unit each.
  const raster = (place, rows, columns) => {
    place.setAttribute("viewBox", `0 0 ${columns} ${rows}`);
    const squares = [];
    for (let r = 0; r < rows; r += 1) for (let c = 0; c < columns; c += 1) squares.push(draw("rect", { x: c, y: r, width: 1, height: 1 }));
    place.replaceChildren(draw("rect", { class: "ground", width: columns, height: rows }), ...squares);
    return squares;
  };
  const size = [data.picture.length, data.picture[0].length];
  const places = [size[0] - side + 1, size[1] - side + 1];
  const pixels = raster(id("picture"), ...size);
  const tiles = raster(id("answers"), ...places);
  const frame = draw("rect", { class: "frame", width: side, height: side });
  id("picture").append(frame);
  const ring = draw("circle", { class: "ring", r: 1.1 });
  const here = draw("rect", { class: "frame", width: 1, height: 1 });
  id("answers").append(here, ring);

  const over = () => {
    const answers = slide(state.picture, state.filter);
    const best = hottest(answers);
    const most = Math.max(...answers.flat().map(Math.abs), 1e-9);
    state.picture.flat().forEach((value, i) => pixels[i].setAttribute("fill-opacity", Math.min(1, Math.abs(value) / ink)));
    answers.flat().forEach((value, i) => {
      tiles[i].setAttribute("class", value < 0 ? "negative" : "positive");
      tiles[i].setAttribute("fill-opacity", Math.abs(value) / most);
    });
    ring.setAttribute("cx", best[1] + 0.5);
    ring.setAttribute("cy", best[0] + 0.5);
    const [r, c] = state.at;
    for (const node of [frame, here]) { node.setAttribute("x", c); node.setAttribute("y", r); }
    id("row").value = r + 1;
    id("column").value = c + 1;
    const value = answers[r][c];
    const top = answers[best[0]][best[1]];
    const is = value === top ? " This is the most it answers anywhere." : ` The hottest place, row ${best[0] + 1}, column ${best[1] + 1}, answers ${number(top)}.`;
    id("said").textContent = `Filter in row ${r + 1}, column ${c + 1}: ${number(value)}.${is}`;
  };
  const all = () => { mark(); over(); };

  const move = (r, c) => {
    state.at = [Math.min(places[0] - 1, Math.max(0, r)), Math.min(places[1] - 1, Math.max(0, c))];
    over();
  };
  const follow = (place, rows, columns, then) => {
    const take = (event) => then(...touched(place, event, rows, columns));
    place.addEventListener("pointerdown", (event) => { place.setPointerCapture(event.pointerId); take(event); });
    place.addEventListener("pointermove", (event) => { if (event.buttons) take(event); });
  };
  const half = Math.floor(side / 2);
  follow(id("picture"), ...size, (r, c) => {
    const mode = id("mode").value;
    if (mode === "move") { move(r - half, c - half); return; }
    state.picture[r][c] = mode === "draw" ? ink : 0;
    over();
  });
  follow(id("answers"), ...places, move);
  // A finger that draws does not scroll.
  id("mode").addEventListener("change", () => { id("picture").style.touchAction = id("mode").value === "move" ? "" : "none"; });
  id("row").max = places[0];
  id("column").max = places[1];
  id("row").addEventListener("input", () => move(Number(id("row").value) - 1, state.at[1]));
  id("column").addEventListener("input", () => move(state.at[0], Number(id("column").value) - 1));
  id("to-hottest").addEventListener("click", () => move(...hottest(slide(state.picture, state.filter))));
  id("mouse").addEventListener("click", () => { state.picture = copy(data.picture); over(); });
  id("take").addEventListener("click", () => {
    state.patch = window7(state.picture, state.at);
    layPatch();
    own();
    id("patch-title").scrollIntoView();
  });

  id("pen").addEventListener("click", () => {
    state.pen = !state.pen;
    id("pen").setAttribute("aria-pressed", String(state.pen));
    layPatch();
  });
  id("row7").addEventListener("change", () => {
    state.filter[data.row7[0]][data.row7[1]] = id("row7").checked ? data.weight : 0;
    layFilter();
  });
  id("patches").addEventListener("change", () => {
    const chosen = id("patches").value;
    if (chosen === "own") return;
    state.patch = copy(data[chosen] || Array(side).fill(Array(side).fill(0)));
    layPatch();
  });
  const reset = () => {
    state.patch = copy(data.curve);
    state.filter = copy(data.filter);
    state.picture = copy(data.picture);
    state.at = [...data.hottest];
    id("patches").value = "curve";
    layPatch();
    layFilter();
  };
  id("reset").addEventListener("click", reset);
  id("note").textContent = data.note;
  reset();
})();
