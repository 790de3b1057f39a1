(() => {
  const { data, id, make, number } = lesson;
  const { classes, size, drawn } = data;
  const PIXELS = size * size;

  // float16 weights -> float32.
  const half = (bits) => {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    return exponent ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024) : sign * 2 ** -14 * (fraction / 1024);
  };
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const raw = bytes(data.weights);
  const flat = Float32Array.from({ length: raw.length / 2 }, (_, i) => half(raw[2 * i] | (raw[2 * i + 1] << 8)));
  let taken = 0;
  const take = (count) => flat.subarray(taken, (taken += count));
  const layers = data.layers.map((layer) => {
    if (!layer.shape) return layer;
    const weight = take(layer.shape.reduce((a, b) => a * b));
    const bias = take(layer.shape[0]);
    if (layer.kind !== "conv2d") return { ...layer, weight, bias };
    // For the way back: inputs and outputs swapped, every filter turned round.
    const [outs, ins] = layer.shape;
    const turned = new Float32Array(weight.length);
    for (let o = 0; o < outs; o += 1) for (let c = 0; c < ins; c += 1) for (let k = 0; k < 9; k += 1) turned[(c * outs + o) * 9 + 8 - k] = weight[(o * ins + c) * 9 + k];
    return { ...layer, weight, bias, turned };
  });

  // 3 × 3 convolution with zeros around; maps lie one after the other, row by row.
  const convolve = (maps, ins, outs, side, weight, bias) => {
    const wide = side + 2;
    const padded = new Float32Array(ins * wide * wide);
    for (let c = 0; c < ins; c += 1) for (let y = 0; y < side; y += 1) padded.set(maps.subarray((c * side + y) * side, (c * side + y + 1) * side), (c * wide + y + 1) * wide + 1);
    const result = new Float32Array(outs * side * side);
    for (let o = 0; o < outs; o += 1) {
      const out = result.subarray(o * side * side, (o + 1) * side * side);
      if (bias) out.fill(bias[o]);
      for (let c = 0; c < ins; c += 1) {
        const k = (o * ins + c) * 9;
        const [a, b, d, e, f, g, h, i, j] = weight.subarray(k, k + 9);
        for (let y = 0; y < side; y += 1) {
          let p = (c * wide + y) * wide;
          let q = p + wide;
          let r = q + wide;
          for (let to = y * side, end = to + side; to < end; to += 1, p += 1, q += 1, r += 1) {
            out[to] += a * padded[p] + b * padded[p + 1] + d * padded[p + 2] + e * padded[q] + f * padded[q + 1] + g * padded[q + 2] + h * padded[r] + i * padded[r + 1] + j * padded[r + 2];
          }
        }
      }
    }
    return result;
  };
  // Forwards; `memory` keeps what the way back needs.
  const run = (input) => {
    let maps = input;
    let [channels, side] = [3, size];
    const memory = [];
    for (const layer of layers) {
      const before = { maps, channels, side };
      if (layer.kind === "conv2d") {
        maps = convolve(maps, channels, layer.shape[0], side, layer.weight, layer.bias);
        [channels] = layer.shape;
      } else if (layer.kind === "relu") maps = maps.map((x) => (x > 0 ? x : 0));
      else if (layer.kind === "maxpool2d") {
        const to = side / 2;
        const pooled = new Float32Array(channels * to * to);
        const from = new Int32Array(pooled.length);
        for (let n = 0; n < pooled.length; n += 1) {
          const corner = (Math.floor(n / to) * 2) * side + (n % to) * 2;
          let best = corner;
          for (const other of [corner + 1, corner + side, corner + side + 1]) if (maps[other] > maps[best]) best = other;
          pooled[n] = maps[best];
          from[n] = best;
        }
        before.from = from;
        [maps, side] = [pooled, to];
      } else if (layer.kind === "adaptiveavgpool2d") {
        const area = side * side;
        maps = Float32Array.from({ length: channels }, (_, c) => maps.subarray(c * area, (c + 1) * area).reduce((a, b) => a + b, 0) / area);
        side = 1;
      } else if (layer.kind === "linear") {
        const given = maps;
        maps = Float32Array.from(layer.bias, (bias, o) => given.reduce((sum, x, i) => sum + x * layer.weight[o * given.length + i], bias));
      }
      memory.push(before);
    }
    return { logits: maps, memory };
  };
  const softmax = (logits) => {
    const most = Math.max(...logits);
    const powers = Array.from(logits, (z) => Math.exp(z - most));
    const total = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / total);
  };
  // Backwards: the gradient of one logit for every number of the input.
  const slope = (input, target) => {
    const { memory } = run(input);
    let gradient = Float32Array.from({ length: classes.length }, (_, c) => (c === target ? 1 : 0));
    for (let n = layers.length - 1; n >= 0; n -= 1) {
      const layer = layers[n];
      const { maps, channels, side, from } = memory[n];
      const after = gradient;
      if (layer.kind === "linear") gradient = Float32Array.from(maps, (_, i) => after.reduce((sum, x, o) => sum + x * layer.weight[o * maps.length + i], 0));
      else if (layer.kind === "adaptiveavgpool2d") gradient = Float32Array.from(maps, (_, i) => after[Math.floor(i / (side * side))] / (side * side));
      else if (layer.kind === "relu") gradient = after.map((x, i) => (maps[i] > 0 ? x : 0));
      else if (layer.kind === "maxpool2d") {
        gradient = new Float32Array(maps.length);
        after.forEach((x, i) => { gradient[from[i]] += x; });
      } else if (layer.kind === "conv2d") gradient = convolve(after, layer.shape[0], channels, side, layer.turned, null);
    }
    return gradient;
  };
  const saliency = (input, target) => {
    const gradient = slope(input, target);
    return Float32Array.from({ length: PIXELS }, (_, i) => Math.max(...[0, 1, 2].map((c) => Math.abs(gradient[c * PIXELS + i]))));
  };

  // Long work in short pieces: the page stays alive, and can stop it.
  const breathe = () => new Promise((go) => { setTimeout(go, 0); });
  const job = () => ({ stopped: false });
  const means = (input) => [0, 1, 2].map((c) => input.subarray(c * PIXELS, (c + 1) * PIXELS).reduce((a, b) => a + b, 0) / PIXELS);
  const starts = (window, stride) => {
    const found = [];
    for (let at = 0; at <= size - window; at += stride) found.push(at);
    if (found[found.length - 1] !== size - window) found.push(size - window);
    return found;
  };
  const occlusion = async (input, target, window, stride, told = () => {}, work = job()) => {
    const along = starts(window, stride);
    const colour = means(input);
    const before = run(input).logits[target];
    const [sum, count] = [new Float64Array(PIXELS), new Uint16Array(PIXELS)];
    const map = () => Float32Array.from(sum, (x, i) => (count[i] ? x / count[i] : 0));
    const places = along.flatMap((_, r) => along.map((_unused, c) => [r, c]));
    // Every fourth first, then every other, then all.
    const rank = ([r, c]) => (r % 4 || c % 4 ? (r % 2 || c % 2 ? 2 : 1) : 0);
    places.sort((a, b) => rank(a) - rank(b));
    let last = performance.now();
    const covered = new Float32Array(input.length);
    for (let n = 0; n < places.length; n += 1) {
      const [top, left] = places[n].map((k) => along[k]);
      covered.set(input);
      for (let c = 0; c < 3; c += 1) for (let y = top; y < top + window; y += 1) covered.fill(colour[c], c * PIXELS + y * size + left, c * PIXELS + y * size + left + window);
      const drop = before - run(covered).logits[target];
      for (let y = top; y < top + window; y += 1) for (let x = left; x < left + window; x += 1) { sum[y * size + x] += drop; count[y * size + x] += 1; }
      if (performance.now() - last > 40) {
        told(map(), n + 1, places.length);
        await breathe();
        if (work.stopped) return null;
        last = performance.now();
      }
    }
    told(map(), places.length, places.length);
    return map();
  };

  // LIME: pieces shown or in their mean colour.
  const hidden = (input, segments, shown) => {
    const count = shown.length;
    const result = new Float32Array(input);
    for (let c = 0; c < 3; c += 1) {
      const [sum, area] = [new Float64Array(count), new Uint32Array(count)];
      segments.forEach((piece, i) => { sum[piece] += input[c * PIXELS + i]; area[piece] += 1; });
      segments.forEach((piece, i) => { if (!shown[piece]) result[c * PIXELS + i] = sum[piece] / area[piece]; });
    }
    return result;
  };
  // Of linear equations, by elimination with the largest pivot.
  const solve = (matrix, right) => {
    const rows = matrix.map((row, i) => [...row, right[i]]);
    const n = rows.length;
    for (let c = 0; c < n; c += 1) {
      let best = c;
      for (let r = c + 1; r < n; r += 1) if (Math.abs(rows[r][c]) > Math.abs(rows[best][c])) best = r;
      [rows[c], rows[best]] = [rows[best], rows[c]];
      for (let r = c + 1; r < n; r += 1) {
        const factor = rows[r][c] / rows[c][c];
        if (factor) for (let k = c; k <= n; k += 1) rows[r][k] -= factor * rows[c][k];
      }
    }
    const x = new Array(n).fill(0);
    for (let r = n - 1; r >= 0; r -= 1) x[r] = (rows[r][n] - rows[r].slice(r + 1, n).reduce((sum, v, k) => sum + v * x[r + 1 + k], 0)) / rows[r][r];
    return x;
  };
  const ridge = (masks, scores) => {
    const pieces = masks[0].length;
    const near = masks.map((mask) => {
      const shown = mask.reduce((a, b) => a + b, 0);
      const distance = shown ? 1 - Math.sqrt(shown / pieces) : 1;
      return Math.sqrt(Math.exp(-(distance ** 2) / data.kernel_width ** 2));
    });
    const total = near.reduce((a, b) => a + b);
    const mean = (of) => near.reduce((sum, w, n) => sum + w * of(n), 0) / total;
    const centre = masks[0].map((_, i) => mean((n) => masks[n][i]));
    const middle = mean((n) => scores[n]);
    const matrix = centre.map(() => new Array(pieces).fill(0));
    const right = new Array(pieces).fill(0);
    masks.forEach((mask, n) => {
      const row = mask.map((value, i) => value - centre[i]);
      for (let i = 0; i < pieces; i += 1) {
        right[i] += near[n] * row[i] * (scores[n] - middle);
        for (let k = 0; k < pieces; k += 1) matrix[i][k] += near[n] * row[i] * row[k];
      }
    });
    centre.forEach((_, i) => { matrix[i][i] += data.penalty; });
    const weights = solve(matrix, right);
    const intercept = middle - weights.reduce((sum, w, i) => sum + w * centre[i], 0);
    const said = masks.map((mask) => mask.reduce((sum, value, i) => sum + value * weights[i], intercept));
    const spread = mean((n) => (scores[n] - middle) ** 2);
    return { weights, intercept, r2: spread ? 1 - mean((n) => (scores[n] - said[n]) ** 2) / spread : 0 };
  };
  const lime = async (input, segments, masks, target, told = () => {}, work = job()) => {
    const scores = [];
    let last = performance.now();
    for (const mask of masks) {
      scores.push(softmax(run(hidden(input, segments, mask)).logits)[target]);
      if (performance.now() - last > 60) {
        if (scores.length > 20) told(ridge(masks.slice(0, scores.length), scores), scores.length);
        await breathe();
        if (work.stopped) return null;
        last = performance.now();
      }
    }
    const found = ridge(masks, scores);
    told(found, masks.length);
    return found;
  };

  // Augmentation: where each place of the changed photo comes from, as the library's maps.
  const matrix = ({ degrees, right, down, zoom, flip, crop }) => {
    const turn = (degrees * Math.PI) / 180;
    const [sx, sy] = [(flip ? -1 : 1) / zoom, 1 / zoom];
    const linear = [[Math.cos(turn) * sx, -Math.sin(turn) * sy], [Math.sin(turn) * sx, Math.cos(turn) * sy]];
    const centre = (drawn - 1) / 2;
    const share = Math.sqrt(crop);
    const edge = (drawn - drawn * share) / 2 + share / 2 - 0.5;
    const by = [right, down];
    return linear.map(([a, b], i) => [a * share, b * share, (a + b) * edge + centre - (a + b) * centre - by[i] * drawn]);
  };

  // The photo, changed and shrunk.
  const state = { settings: null, photo: null, own: null, input: null, target: 0, segments: null, shown: null, weights: null, covering: null, sampling: null };
  const mirrored = (image) => {
    const tile = make("canvas", { width: 2 * drawn, height: 2 * drawn });
    const context = tile.getContext("2d");
    for (const [x, y] of [[1, 1], [-1, 1], [1, -1], [-1, -1]]) {
      context.setTransform(x, 0, 0, y, x < 0 ? 2 * drawn : 0, y < 0 ? 2 * drawn : 0);
      context.drawImage(image, 0, 0, drawn, drawn);
    }
    return tile;
  };
  const scene = make("canvas", { width: drawn, height: drawn });
  const paint = scene.getContext("2d", { willReadFrequently: true });
  const changed = (settings) => {
    const [[a, b, x], [c, d, y]] = matrix(settings);
    // Of a canvas pixels reach from 0 to 1, of the library's maps from -0.5 to 0.5; and a canvas
    // wants to know where places go, not where they come from.
    const [px, py] = [x + 0.5 - (a + b) / 2, y + 0.5 - (c + d) / 2];
    const size2 = a * d - b * c;
    const inverse = [d / size2, -c / size2, -b / size2, a / size2];
    paint.setTransform(...inverse, -(inverse[0] * px + inverse[2] * py), -(inverse[1] * px + inverse[3] * py));
    paint.fillStyle = paint.createPattern(state.photo, "repeat");
    paint.fillRect(-4 * drawn, -4 * drawn, 9 * drawn, 9 * drawn);
    paint.setTransform(1, 0, 0, 1, 0, 0);
    return paint.getImageData(0, 0, drawn, drawn).data;
  };
  const shrunk = (rgba) => {
    const block = drawn / size;
    const input = new Float32Array(3 * PIXELS);
    for (let c = 0; c < 3; c += 1) {
      for (let y = 0; y < size; y += 1) {
        for (let x = 0; x < size; x += 1) {
          let sum = 0;
          for (let i = 0; i < block; i += 1) for (let j = 0; j < block; j += 1) sum += rgba[4 * ((y * block + i) * drawn + x * block + j) + c];
          input[c * PIXELS + y * size + x] = (sum / (block * block) / 255 - data.mean) / data.spread;
        }
      }
    }
    return input;
  };
  // For tests: the arithmetic of this page, to be held against the library's.
  window.photo = {
    forward: (input) => Array.from(run(Float32Array.from(input)).logits),
    saliency: (input, target) => Array.from(saliency(Float32Array.from(input), target)),
    occlusion: async (input, target, window, stride) => Array.from(await occlusion(Float32Array.from(input), target, window, stride)),
    lime: (input, segments, masks, target) => lime(Float32Array.from(input), segments, masks, target),
    matrix, changed: (settings) => Array.from(changed(settings)), input: () => Array.from(state.input),
  };

  // Pictures.
  const level = (input, i, c) => 255 * (input[c * PIXELS + i] * data.spread + data.mean);
  const show = (place, colour) => {
    const canvas = id(place);
    canvas.width = size;
    canvas.height = size;
    const pixels = new ImageData(size, size);
    for (let i = 0; i < PIXELS; i += 1) pixels.data.set([...colour(i), 255], 4 * i);
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  };
  const plain = (place, input) => show(place, (i) => [0, 1, 2].map((c) => level(input, i, c)));
  // A map over the grey photo: orange speaks for the class, blue against it. By the root of the
  // values where a few large ones would leave nothing else to see.
  const overlay = (place, map, root = false) => {
    const most = map.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-9);
    show(place, (i) => {
      const grey = 0.5 * (0.299 * level(state.input, i, 0) + 0.587 * level(state.input, i, 1) + 0.114 * level(state.input, i, 2)) + 90;
      const part = Math.abs(map[i]) / most;
      const share = root ? Math.sqrt(part) : part;
      const colour = map[i] > 0 ? [214, 95, 0] : [20, 90, 190];
      return colour.map((value) => grey + share * (value - grey));
    });
  };

  // Answers.
  const FIELDS = ["degrees", "right", "down", "zoom", "crop"];
  const percent = (share) => `${number(100 * share, 1)} %`;
  const bars = classes.map((name) => {
    const [fill, said] = [make("span", { class: "fill" }), make("span", { class: "share" })];
    const row = make("div", { class: "guess", role: "listitem" }, make("span", { class: "name" }, name), make("span", { class: "track" }, fill), said);
    id("bars").append(row);
    return { row, fill, said };
  });
  const answer = () => {
    const shares = softmax(run(state.input).logits);
    const best = shares.indexOf(Math.max(...shares));
    shares.forEach((share, c) => {
      bars[c].fill.style.width = `${100 * share}%`;
      bars[c].said.textContent = percent(share);
      bars[c].row.classList.toggle("best", c === best);
    });
    id("answer").textContent = `${classes[best]}, ${percent(shares[best])}`;
    return best;
  };
  const grid = () => {
    const side = Math.ceil(size / data.grid);
    return Array.from({ length: PIXELS }, (_, i) => Math.floor(Math.floor(i / size) / side) * data.grid + Math.floor((i % size) / side));
  };
  const untouched = () => Object.entries(first).every(([name, value]) => state.settings[name] === value);
  const first = { degrees: 0, right: 0, down: 0, zoom: 1, flip: false, crop: 1 };

  const stop = (name) => { if (state[name]) state[name].stopped = true; state[name] = null; };
  const forget = () => {
    stop("covering");
    stop("sampling");
    for (const name of ["stop-cover", "stop-sample"]) id(name).disabled = true;
    state.segments = state.own === null && untouched() ? data.photos[state.chosen].segments : grid();
    state.shown = new Array(Math.max(...state.segments) + 1).fill(1);
    state.weights = null;
    for (const name of ["occlusion", "lime"]) plain(name, state.input);
    id("cover-said").textContent = "Not covered yet.";
    id("heaviest").replaceChildren();
    overlay("saliency", saliency(state.input, state.target), true);
    pieces();
  };
  let asked = false;
  const view = () => {
    const { settings } = state;
    const rgba = changed(settings);
    const canvas = id("view");
    canvas.width = drawn;
    canvas.height = drawn;
    canvas.getContext("2d").putImageData(new ImageData(rgba, drawn, drawn), 0, 0);
    state.input = shrunk(rgba);
    plain("input", state.input);
    const best = answer();
    if (!asked) state.target = best;
    id("target").value = state.target;
    const said = { degrees: `${settings.degrees}°`, right: percent(settings.right), down: percent(settings.down), zoom: number(settings.zoom, 2), crop: percent(settings.crop) };
    for (const name of FIELDS) { id(name).value = settings[name]; id(name).parentElement.querySelector("output").textContent = said[name]; }
    id("flip").checked = settings.flip;
    const rows = matrix(settings).map((row) => row.map((value) => { const text = number(value, 3); return text.startsWith("-") ? `(${text})` : text; }));
    id("said").textContent = `All changes together are one map. The pixel at (x, y) comes from\nx: ${rows[0][0]}·x + ${rows[0][1]}·y + ${rows[0][2]}\ny: ${rows[1][0]}·x + ${rows[1][1]}·y + ${rows[1][2]}\nWhat lies beyond the photo is its mirror image.`;
    forget();
  };
  // At most once a frame, however fast a slider moves.
  let due = false;
  const soon = () => { if (!due) { due = true; requestAnimationFrame(() => { due = false; view(); }); } };

  // Occlusion and LIME on demand.
  const labelled = (name) => { id(name).parentElement.querySelector("output").textContent = id(name).value; };
  id("cover").addEventListener("click", async () => {
    stop("covering");
    const work = job();
    state.covering = work;
    id("stop-cover").disabled = false;
    const [window, stride] = [Number(id("window").value), Math.min(Number(id("stride").value), Number(id("window").value))];
    await occlusion(state.input, state.target, window, stride, (map, n, all) => {
      if (work.stopped) return;
      overlay("occlusion", map);
      const most = map.reduce((best, x, i) => (x > map[best] ? i : best), 0);
      id("cover-said").textContent = `${n} of ${all} places. The score of ${classes[state.target]} falls most, by ${number(map[most], 2)} on average, where row ${Math.floor(most / size) + 1}, column ${(most % size) + 1} is covered.`;
    }, work);
    if (state.covering === work) { id("stop-cover").disabled = true; state.covering = null; }
  });
  id("stop-cover").addEventListener("click", () => { stop("covering"); id("stop-cover").disabled = true; });
  const pieces = () => {
    const input = hidden(state.input, state.segments, state.shown);
    plain("hidden", input);
    const off = state.shown.filter((x) => !x).length;
    const share = softmax(run(input).logits)[state.target];
    const fit = state.weights ? ` ${state.samples} samples; R² ${number(state.weights.r2, 2)}: so much of what the network says the simple model explains.` : "";
    id("lime-said").textContent = `${state.shown.length} pieces, ${off} hidden: ${classes[state.target]} ${percent(share)}.${fit}`;
    for (const button of id("heaviest").children) button.setAttribute("aria-pressed", String(!state.shown[Number(button.dataset.piece)]));
  };
  const toggle = (piece) => { state.shown[piece] = 1 - state.shown[piece]; pieces(); };
  id("sample").addEventListener("click", async () => {
    stop("sampling");
    const work = job();
    state.sampling = work;
    id("stop-sample").disabled = false;
    const count = state.shown.length;
    const masks = Array.from({ length: Number(id("samples").value) }, (_, n) => Array.from({ length: count }, () => (n === 0 || Math.random() < 0.5 ? 1 : 0)));
    await lime(state.input, state.segments, masks, state.target, (found, n) => {
      if (work.stopped) return;
      [state.weights, state.samples] = [found, n];
      overlay("lime", Float32Array.from(state.segments, (piece) => found.weights[piece]));
      const order = found.weights.map((_, piece) => piece).sort((a, b) => Math.abs(found.weights[b]) - Math.abs(found.weights[a]));
      id("heaviest").replaceChildren(...order.slice(0, 5).map((piece) => {
        const weight = found.weights[piece];
        const button = make("button", { type: "button", "data-piece": piece, "aria-pressed": "false" }, `hide piece ${piece} (${weight > 0 ? "+" : ""}${number(weight, 2)})`);
        button.addEventListener("click", () => toggle(piece));
        return button;
      }));
      pieces();
    }, work);
    if (state.sampling === work) { id("stop-sample").disabled = true; state.sampling = null; }
  });
  id("stop-sample").addEventListener("click", () => { stop("sampling"); id("stop-sample").disabled = true; });
  id("hidden").addEventListener("click", (event) => {
    const box = id("hidden").getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((share) => Math.max(0, Math.min(size - 1, Math.floor(share * size))));
    toggle(state.segments[y * size + x]);
  });

  // Choices.
  for (const [name, value] of [["window", data.window], ["stride", data.stride], ["samples", data.samples]]) {
    id(name).value = value;
    labelled(name);
    id(name).addEventListener("input", () => labelled(name));
  }
  id("target").append(...classes.map((name, c) => make("option", { value: c }, name)));
  id("target").addEventListener("change", () => { asked = true; state.target = Number(id("target").value); forget(); });
  for (const name of FIELDS) id(name).addEventListener("input", () => { state.settings[name] = Number(id(name).value); soon(); });
  id("flip").addEventListener("change", () => { state.settings.flip = id("flip").checked; view(); });
  id("reset").addEventListener("click", () => { state.settings = { ...first }; view(); });
  const begin = (image, chosen, own) => {
    [state.photo, state.chosen, state.own, state.settings, asked] = [mirrored(image), chosen, own, { ...first }, false];
    [...id("choices").children].forEach((button, n) => button.setAttribute("aria-pressed", String(n === chosen)));
    id("own-said").hidden = own === null;
    id("photo-fault").textContent = "";
    view();
  };
  const images = data.photos.map(({ jpeg }) => { const image = new Image(); image.src = `data:image/jpeg;base64,${jpeg}`; return image; });
  const choose = async (n) => { await images[n].decode(); begin(images[n], n, null); };
  id("choices").append(...data.photos.map(({ label }, n) => {
    const thumbnail = make("img", { alt: "", width: 56, height: 56 });
    thumbnail.src = images[n].src;
    const button = make("button", { type: "button", class: "thumb", "aria-pressed": "false" }, thumbnail, label);
    button.addEventListener("click", () => choose(n));
    return button;
  }));
  lesson.photo(id("drop"), (bitmap, name) => {
    // The middle square, as convscope crops photos.
    const side = Math.min(bitmap.width, bitmap.height);
    const square = make("canvas", { width: drawn, height: drawn });
    const context = square.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, (bitmap.width - side) / 2, (bitmap.height - side) / 2, side, side, 0, 0, drawn, drawn);
    begin(square, -1, name);
  }, (text) => { id("photo-fault").textContent = text; });
  id("about").textContent = `This page has the whole network in it: ${data.parameters.toLocaleString("en")} weights, trained by convscope on ${data.trained_on.toLocaleString("en")} photos that it drew. ${data.tests} Everything is computed here, live.`;
  id("lime-about").textContent = `The photo is cut into pieces: the library's super-pixels for the photos above, a grid of ${data.grid} × ${data.grid} where you changed the photo or brought your own. Random halves of the pieces are hidden, and a simple weighted sum imitates the network's share. Orange pieces speak for the class, blue against it. Press a piece on the right to hide it, or show it again.`;
  choose(0);
})();
