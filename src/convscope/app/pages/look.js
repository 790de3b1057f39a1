// One photo: what the classifier says of it, and what that rests on, while it is being computed.
import { asked, button, get, link, make, percent, post, remember, remove, told, trying } from "./common.js";
import { options } from "./photos.js";

const METHODS = [
  ["saliency", "Saliency", "how much each pixel, changed a little, changes the score"],
  ["smoothgrad", "SmoothGrad", "saliency, averaged over copies of the photo with noise"],
  ["integrated_gradients", "Integrated gradients", "the share of the score that each pixel brings on the way from grey to the photo"],
  ["gradcam", "Grad-CAM", "the places of the last map that speak for the class"],
  ["occlusion", "Occlusion", "how far the score drops where a part is covered; coarse first, then finer"],
  ["lime", "LIME", "a simple model of which pieces, shown or hidden, bring the score"],
];
const PAUSE = 250;
const TRUST = "When what the map points at is taken away first, the answer should go sooner (deletion, small) than when the same map lies elsewhere (random).";
const VERDICTS = { true: "This map is better than chance. ", false: "This map is no better than chance: do not believe it. ", null: "" };

export function look(main, run, wanted) {
  let current = null, asking = 0, ended = false, picture = null, map = null, state = {}, pointer = null;
  // In the address: a page that is loaded again shows the same.
  let method = asked().get("method"), target = asked().get("class");
  const canvas = make("canvas", { width: 600, height: 400, tabindex: "0", role: "img", "aria-label": "The photo and the map; arrow keys move a pointer" });
  const context = canvas.getContext("2d");
  const bars = make("table", { class: "bars" });
  const head = make("h1", {}, "What it looks at");
  const said = make("p", { class: "baseline" }), doing = make("p", { class: "aside" }), trust = make("p"), at = make("p", { class: "aside readout", "aria-live": "polite" });
  const bar = make("progress", { "aria-label": "Computing", hidden: true });
  const opacity = make("input", { type: "range", min: 0, max: 100, value: 70, "aria-label": "How strongly the map covers the photo" });
  const ramp = make("div", { class: "ramp" }), low = make("span"), high = make("span"), unit = make("p", { class: "aside" });
  const scale = make("div", { hidden: true }, make("div", { class: "scale" }, low, ramp, high), unit, make("label", { class: "row" }, "Map over photo", opacity));
  const aim = options([["", "what it says"]], {});
  const stop = button("Stop", () => { start(null); }, { hidden: true });
  const buttons = [["", "Photo", ""], ...METHODS].map(([name, text, what]) => button(text, () => start(name || null), { "aria-pressed": "false", "data-method": name, title: what }));
  const about = make("p", { class: "aside" });

  const paint = () => {
    if (!picture || !state.photo) return;
    const { width, height, box } = state.photo;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    context.filter = map ? "grayscale(1)" : "none";
    context.drawImage(picture, 0, 0, width, height);
    context.filter = "none";
    if (map) {
      context.globalAlpha = Number(opacity.value) / 100;
      context.drawImage(map.canvas, box[0], box[1], box[2] - box[0], box[3] - box[1]);
      context.globalAlpha = 1;
    }
    heat.stripes(context, width, height, box);
    if (pointer) {
      context.lineWidth = 2;
      context.strokeStyle = "#fff";
      context.strokeRect(pointer[0] - 6, pointer[1] - 6, 12, 12);
      context.strokeStyle = "#000";
      context.strokeRect(pointer[0] - 7.5, pointer[1] - 7.5, 15, 15);
    }
  };
  // Where a point of the canvas lies in what the network saw, as fractions; or null.
  const inside = ([x, y]) => {
    const [left, top, right, bottom] = state.photo.box;
    return x < left || x >= right || y < top || y >= bottom ? null : [(x - left) / (right - left), (y - top) / (bottom - top)];
  };
  const tell = (place) => {
    if (!map) return;
    const found = inside(place);
    if (!found) { at.textContent = "The network has not seen this part."; return; }
    const column = Math.floor(found[0] * map.shape[1]), row = Math.floor(found[1] * map.shape[0]);
    const value = map.bytes[row * map.shape[1] + column] / 127 * map.scale;
    let text = `${map.unit}: ${heat.number(value)}`;
    if (map.occlusion) {
      const k = heat.covering(map.occlusion, found[0], found[1]);
      text = map.occlusion.classes.map((name, i) => `${name} ${percent(map.occlusion.before[i])} → ${percent(map.occlusion.before[i] - map.occlusion.drops[i][k])}`).join(", ");
      text = `Covered here: ${text}`;
    }
    at.textContent = text;
  };
  const place = (event) => {
    const edge = canvas.getBoundingClientRect();
    return [(event.clientX - edge.left) / edge.width * canvas.width, (event.clientY - edge.top) / edge.height * canvas.height];
  };
  canvas.addEventListener("pointermove", (event) => { if (state.photo) tell(place(event)); });
  canvas.addEventListener("pointerdown", (event) => { if (state.photo) tell(place(event)); });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Escape") pointer = null;
    else if (step && state.photo) {
      pointer = pointer || [canvas.width / 2, canvas.height / 2];
      pointer = [0, 1].map((axis) => Math.max(0, Math.min([canvas.width, canvas.height][axis] - 1, pointer[axis] + step[axis] * canvas.width / 24)));
      tell(pointer);
    } else return;
    event.preventDefault();
    paint();
  });
  opacity.addEventListener("input", paint);

  const show = (found, fresh) => {
    state = found;
    if (found.classes) {
      head.textContent = found.name;
      const wrong = found.is_ && found.is_ !== found.says;
      said.replaceChildren(make("b", { class: wrong ? "orange" : "blue" }, found.says), ` ${percent(found.classes[0][1], 1)}`, wrong ? ", is " : "", wrong ? make("b", { class: "blue" }, found.is_) : "");
      bars.replaceChildren(make("caption", { class: "hidden" }, "Probability of each class"), ...found.classes.map(([name, share]) => {
        const length = make("div");
        length.style.width = `${Math.max(0.5, 100 * share)}%`;
        return make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "track" }, length), make("td", {}, percent(share, 1)));
      }));
      if (aim.options.length === 1) {
        aim.append(...found.all.map((name) => make("option", { value: name }, name)));
        aim.value = target || "";
        only.textContent = `It knows only ${found.all.length > 12 ? `its ${found.all.length} classes` : found.all.join(", ")}, and names one of them for any photo.`;
        const [left, top, right, bottom] = found.photo.box;
        cut.hidden = left < 1 && top < 1 && right > found.photo.width - 1 && bottom > found.photo.height - 1;
      }
    }
    if (found.map && fresh) {
      map = { ...found.map, ...heat.coloured(found.map) };
      low.textContent = map.signed ? heat.number(-map.scale) : "0";
      high.textContent = heat.number(map.scale);
      ramp.className = `ramp ${map.signed ? "signed" : "unsigned"}`;
      unit.textContent = `${map.unit}, for ${found.target}`;
    }
    scale.hidden = !map;
    const busy = found.status === "waiting" || found.status === "running";
    bar.hidden = stop.hidden = !busy || !method;
    if (typeof found.share === "number") bar.value = Math.min(1, found.share); else bar.removeAttribute("value");
    const other = found.status === "cancelled" ? "Ended by another look. Press the method again." : "";
    doing.textContent = found.error || other || (busy && found.doing ? `${found.doing} …` : found.seconds !== undefined ? `Computed in ${found.seconds} s.` : "");
    doing.classList.toggle("wrong", Boolean(found.error));
    trust.replaceChildren(make("b", { class: found.better === false ? "orange" : "" }, found.trust ? VERDICTS[String(found.better)] : ""), found.trust || "");
    paint();
  };

  const watch = trying(async (mine) => {
    let version = -1, mapped = "";
    while (!ended && mine === current) {
      const found = await get(`/api/looks/${mine}`);
      if (mine !== current || ended) return;
      if (found.version !== version) {
        version = found.version;
        if (found.photo && !picture) {
          picture = new Image();
          picture.addEventListener("load", paint);
          picture.src = `/api/looks/${mine}/photo`;
        }
        const now = found.map ? found.map.values : "";
        show(found, now !== mapped);
        mapped = now;
      }
      if (["done", "failed", "cancelled"].includes(found.status)) {
        canvas.dataset.status = found.status;
        if (method) told(found.status === "done" ? `${method} is done. ${found.trust || ""}` : `${found.status} ${found.error || ""}`);
        return;
      }
      await new Promise((resolve) => { setTimeout(resolve, PAUSE); });
    }
  });
  const start = trying(async (name) => {
    method = name;
    map = null;
    at.textContent = "";
    canvas.dataset.status = "running";
    buttons.forEach((one) => one.setAttribute("aria-pressed", String((one.dataset.method || null) === name)));
    const chosen = METHODS.find(([one]) => one === name);
    about.textContent = chosen ? `${chosen[1]}: ${chosen[2]}.` : "";
    remember({ method: name, class: target });
    const mine = (asking += 1);
    let id;
    try {
      ({ id } = await post(`/api/runs/${run}/looks`, { ...wanted, method: name, target }));
    } catch (error) {
      doing.textContent = error.message;
      doing.classList.add("wrong");
      throw error;
    }
    // Two presses at once: only the last counts.
    if (mine !== asking || ended) return;
    current = id;
    watch(id);
  });
  aim.addEventListener("change", () => { target = aim.value || null; start(method); });

  const only = make("p", { class: "aside" }), cut = make("p", { class: "aside", hidden: true }, "Striped: cut off before the network sees the photo.");
  const rows = JSON.parse(sessionStorage.getItem(`rows-${run}`) || "[]"), at_ = rows.indexOf(wanted.row);
  const step = (text, by) => (at_ >= 0 && rows[at_ + by] !== undefined ? link(text, `#/run/${run}/look/${rows[at_ + by]}${method ? `?method=${method}` : ""}`) : null);
  main.replaceChildren(
    make("p", { class: "row" }, link("← All photos", `#/run/${run}`), step("Photo before", -1), step("Next photo", 1)), head,
    make("div", { class: "look" },
      make("div", {}, canvas, cut, at, scale),
      make("div", {}, said, bars, only,
        make("section", {}, make("h2", {}, "What the answer rests on"),
          make("div", { class: "row", role: "group", "aria-label": "Method" }, ...buttons), make("label", { class: "row" }, "For the class", aim),
          about, bar, doing, stop, trust, make("p", { class: "aside" }, TRUST)))));
  start(method);
  return () => {
    ended = true;
    // Nobody looks any more: it need not be computed to its end.
    if (current && canvas.dataset.status === "running") remove(`/api/looks/${current}`).catch(() => {});
  };
}
