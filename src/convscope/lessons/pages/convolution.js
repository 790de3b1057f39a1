(() => {
  const { data, id, make, number, typed, cells, editable } = lesson;
  const first = JSON.parse(JSON.stringify(data));
  const presets = {
    "the course's": first.filter,
    "vertical edges": [[1, 0, -1], [2, 0, -2], [1, 0, -1]],
    "horizontal edges": [[1, 2, 1], [0, 0, 0], [-1, -2, -1]],
    "mean": Array(3).fill(Array(3).fill(0.1111)),
    "sharper": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
  };
  // Longest side of a photo, pixels: each step of the arithmetic can still be seen.
  const LONGEST = 160;
  const state = { ...first, at: [0, 0], photo: null };

  // Everything that is computed; a plane is a list of rows.
  const convolve = (image, filter, { stride, padding, dilation }) => {
    const sides = [image.length, image[0].length];
    const [rows, columns] = sides.map((side, axis) => {
      const reach = dilation * ((axis ? filter[0].length : filter.length) - 1) + 1;
      return Math.floor((side + 2 * padding - reach) / stride) + 1;
    });
    if (rows < 1 || columns < 1) return null;
    const inside = (r, c) => r >= 0 && c >= 0 && r < sides[0] && c < sides[1];
    const taps = (r, c) => filter.flatMap((row, i) => row.map((weight, j) => {
      const place = [r * stride - padding + i * dilation, c * stride - padding + j * dilation];
      return { place, weight, pixel: inside(...place) ? image[place[0]][place[1]] : 0, inside: inside(...place) };
    }));
    const result = Array.from({ length: rows }, (_, r) => Array.from({ length: columns },
      (_unused, c) => taps(r, c).reduce((sum, tap) => sum + tap.pixel * tap.weight, 0)));
    return { result, taps };
  };
  const relu = (plane) => plane.map((row) => row.map((x) => Math.max(0, x)));
  const pool = (plane, side) => {
    const [rows, columns] = [plane.length, plane[0].length].map((n) => Math.floor(n / side));
    return Array.from({ length: rows }, (_, r) => Array.from({ length: columns }, (_unused, c) => {
      const block = [];
      for (let i = 0; i < side; i += 1) for (let j = 0; j < side; j += 1) block.push([plane[r * side + i][c * side + j], r * side + i, c * side + j]);
      return block.reduce((best, one) => (one[0] > best[0] ? one : best));
    }));
  };
  // For tests: the arithmetic of this page, to be held against the library's.
  window.convolution = (image, filter, how) => {
    const found = convolve(image, filter, how);
    return found && { result: found.result, relu: relu(found.result), pooled: pool(relu(found.result), first.pool).map((row) => row.map((one) => one[0])) };
  };

  const show = () => {
    const { image, filter, padding, at } = state;
    const found = convolve(image, filter, state);
    id("fault").textContent = found ? "" : "The filter does not fit into the image: take a smaller dilation, or more padding.";
    for (const name of ["result", "relu", "pooled"]) if (!found) id(name).replaceChildren();
    if (!found) { id("sum").textContent = ""; return; }
    const { result, taps } = found;
    at[0] = Math.min(at[0], result.length - 1);
    at[1] = Math.min(at[1], result[0].length - 1);
    const now = taps(...at);
    const seen = new Set(now.map((tap) => tap.place.join()));
    [...id("image").children].forEach((node) => node.classList.toggle("seen", seen.has(node.dataset.place)));
    cells(id("result"), result.length, result[0].length, {
      value: (r, c) => number(result[r][c]),
      look: (r, c) => (r === at[0] && c === at[1] ? "now" : ""),
      press: (r, c) => { state.at = [r, c]; show(); },
      label: (r, c) => `row ${r + 1}, column ${c + 1}: ${number(result[r][c])}`,
    });
    const width = filter[0].length;
    const terms = now.map((tap) => `${number(tap.pixel)}·${tap.weight < 0 ? `(${number(tap.weight)})` : number(tap.weight)}`);
    const lines = filter.map((_, i) => terms.slice(i * width, (i + 1) * width).join(" + "));
    const outside = now.some((tap) => !tap.inside) ? "   (0 outside: padding)" : "";
    id("sum").textContent = `Row ${at[0] + 1}, column ${at[1] + 1}${outside}\n${lines.join("\n + ")}\n = ${number(result[at[0]][at[1]])}`;
    const positive = relu(result);
    const pooled = pool(positive, first.pool);
    const kept = new Set(pooled.flat().map((one) => `${one[1]},${one[2]}`));
    cells(id("relu"), positive.length, positive[0].length, {
      value: (r, c) => number(positive[r][c]),
      look: (r, c) => (kept.has(`${r},${c}`) ? "now" : result[r][c] < 0 ? "lost" : ""),
    });
    cells(id("pooled"), pooled.length, pooled.length ? pooled[0].length : 1, { value: (r, c) => number(pooled[r][c][0]), look: () => "now" });
    void padding;
    paint();
  };

  // The image with its padding around it.
  const layout = () => {
    const { image, padding } = state;
    editable(id("image"), image, "image", show);
    const place = id("image");
    const fields = [...place.children];
    const columns = image[0].length + 2 * padding;
    const nodes = [];
    for (let r = -padding; r < image.length + padding; r += 1) {
      for (let c = -padding; c < image[0].length + padding; c += 1) {
        const within = r >= 0 && c >= 0 && r < image.length && c < image[0].length;
        const node = within ? fields[r * image[0].length + c] : make("span", { class: "outside" }, "0");
        node.dataset.place = `${r},${c}`;
        nodes.push(node);
      }
    }
    place.style.gridTemplateColumns = `repeat(${columns}, max-content)`;
    place.replaceChildren(...nodes);
    editable(id("filter"), state.filter, "filter", () => { id("presets").value = ""; show(); });
    show();
  };

  // A photo: grey values, drawn as pictures.
  const grey = (canvas, plane) => {
    const [height, width] = [plane.length, plane[0].length];
    const flat = plane.flat();
    const low = Math.min(0, ...flat.length ? [flat.reduce((a, b) => Math.min(a, b))] : []);
    const high = flat.reduce((a, b) => Math.max(a, b), low + 1e-9);
    canvas.width = width;
    canvas.height = height;
    const pixels = new ImageData(width, height);
    flat.forEach((value, i) => {
      pixels.data.fill(Math.round(255 * (value - low) / (high - low)), 4 * i, 4 * i + 3);
      pixels.data[4 * i + 3] = 255;
    });
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  };
  const paint = () => {
    if (!state.photo) return;
    const found = convolve(state.photo, state.filter, state);
    if (!found) return;
    const positive = relu(found.result);
    const pooled = pool(positive, first.pool).map((row) => row.map((one) => one[0]));
    grey(id("p-image"), state.photo);
    grey(id("p-result"), found.result);
    grey(id("p-relu"), positive);
    if (pooled.length && pooled[0].length) grey(id("p-pooled"), pooled);
    id("photo-said").textContent = `${state.photo.length} × ${state.photo[0].length} pixels, then ${positive.length} × ${positive[0].length}, then ${pooled.length} × ${pooled.length ? pooled[0].length : 0}.`;
  };
  lesson.photo(id("drop"), (bitmap) => {
    const share = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
    const canvas = new OffscreenCanvas(Math.max(3, Math.round(bitmap.width * share)), Math.max(3, Math.round(bitmap.height * share)));
    const context = canvas.getContext("2d");
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const { data: rgba } = context.getImageData(0, 0, canvas.width, canvas.height);
    // ITU-R BT.601 luma, as Pillow's convert("L").
    state.photo = Array.from({ length: canvas.height }, (_, r) => Array.from({ length: canvas.width }, (_unused, c) => {
      const i = 4 * (r * canvas.width + c);
      return Math.round(0.299 * rgba[i] + 0.587 * rgba[i + 1] + 0.114 * rgba[i + 2]);
    }));
    id("photo-fault").textContent = "";
    id("photo").hidden = false;
    paint();
  }, (text) => { id("photo-fault").textContent = text; });

  const step = (by) => {
    const found = convolve(state.image, state.filter, state);
    if (!found) return;
    const columns = found.result[0].length;
    const count = found.result.length * columns;
    const next = (state.at[0] * columns + state.at[1] + by + count) % count;
    state.at = [Math.floor(next / columns), next % columns];
    show();
  };
  let playing = 0;
  const play = () => {
    if (playing) { clearInterval(playing); playing = 0; } else playing = setInterval(() => step(1), 900);
    id("play").setAttribute("aria-pressed", String(Boolean(playing)));
    id("play").textContent = playing ? "Stop" : "Play";
  };
  id("back").addEventListener("click", () => step(-1));
  id("on").addEventListener("click", () => step(1));
  id("play").addEventListener("click", play);
  lesson.arrows(() => step(-1), () => step(1));
  for (const name of ["stride", "padding", "dilation"]) {
    id(name).addEventListener("change", () => {
      const field = id(name);
      const given = typed(field.value);
      state[name] = Math.min(Number(field.max), Math.max(Number(field.min), Math.round(given === null ? first[name] : given)));
      field.value = state[name];
      layout();
    });
  }
  id("presets").append(make("option", { value: "" }, "own"), ...Object.keys(presets).map((name) => make("option", { value: name }, name)));
  id("presets").addEventListener("change", () => {
    const chosen = presets[id("presets").value];
    if (chosen) state.filter = chosen.map((row) => [...row]);
    layout();
  });
  const reset = () => {
    Object.assign(state, JSON.parse(JSON.stringify(first)), { at: [0, 0] });
    for (const name of ["stride", "padding", "dilation"]) id(name).value = state[name];
    id("presets").value = "the course's";
    layout();
  };
  id("reset").addEventListener("click", reset);
  id("note").textContent = data.note;
  reset();
})();
