"use strict";
(() => {
const { coloured, stripes, number } = heat;
// Pixels of the longer side in the overview.
const SMALL = 400;
const content = JSON.parse(document.getElementById("explain-data").textContent);

function start(section) {
  const data = content[Number(section.dataset.card)];
  const find = (name) => section.querySelector(`[data-${name}]`);
  const original = find("original"), shown = find("map"), said = find("said");
  const covered = find("covered"), scores = find("scores"), opacity = find("opacity");
  const usual = scores.innerHTML;
  const maps = data.maps.map((map) => ({ ...map, ...coloured(map) }));
  const [left, top, right, bottom] = data.box;
  const width = original.width, height = original.height;
  const photo = new Image();
  let chosen = 0, pointer = null;

  function lay(context, map) {
    context.filter = "grayscale(1)";
    context.drawImage(photo, 0, 0, width, height);
    context.filter = "none";
    context.globalAlpha = Number(opacity.value) / 100;
    context.imageSmoothingEnabled = true;
    context.drawImage(map.canvas, left, top, right - left, bottom - top);
    context.globalAlpha = 1;
    stripes(context, width, height, data.box);
  }

  // All methods side by side, with the pixels that the screen has.
  function overview() {
    section.querySelectorAll("[data-small]").forEach((small) => {
      const share = Math.min(1, SMALL / Math.max(width, height)), context = small.getContext("2d");
      small.width = Math.round(width * share);
      small.height = Math.round(height * share);
      context.imageSmoothingQuality = "high";
      context.scale(small.width / width, small.height / height);
      if (small.dataset.small === "photo") {
        context.drawImage(photo, 0, 0, width, height);
        stripes(context, width, height, data.box);
      } else {
        lay(context, maps[Number(small.dataset.small)]);
      }
    });
  }

  function draw() {
    const map = maps[chosen], context = shown.getContext("2d");
    lay(context, map);
    if (pointer) {
      context.strokeStyle = "#fff";
      context.lineWidth = 2;
      context.strokeRect(pointer[0] - 6, pointer[1] - 6, 12, 12);
      context.strokeStyle = "#000";
      context.strokeRect(pointer[0] - 7.5, pointer[1] - 7.5, 15, 15);
    }
    find("ramp").className = `ramp ${map.signed ? "signed" : "unsigned"}`;
    find("low").textContent = map.signed ? number(-map.scale) : "0";
    find("high").textContent = number(map.scale);
    find("unit").textContent = map.unit;
  }

  function plain() {
    original.getContext("2d").drawImage(photo, 0, 0, width, height);
    stripes(original.getContext("2d"), width, height, data.box);
    covered.textContent = maps[chosen].occlusion ? "The photo. Press a place on the map to cover it." : "The photo.";
    scores.innerHTML = usual;
  }

  function place(x, y) {
    if (x < left || x >= right || y < top || y >= bottom) return null;
    return [(x - left) / (right - left), (y - top) / (bottom - top)];
  }

  function tell(x, y) {
    const map = maps[chosen], at = place(x, y);
    if (!at) {
      said.textContent = "The network has not seen this part.";
      return;
    }
    const column = Math.floor(at[0] * map.shape[1]), row = Math.floor(at[1] * map.shape[0]);
    const value = (map.bytes[row * map.shape[1] + column] / 127) * map.scale;
    said.textContent = `${map.unit}: ${number(value)}`;
  }

  function cover(x, y) {
    const occlusion = maps[chosen].occlusion, at = place(x, y);
    plain();
    if (!occlusion || !at) return;
    const [rows, columns] = occlusion.space, [high, wide] = occlusion.window;
    const down = at[1] * rows - high / 2, across = at[0] * columns - wide / 2;
    let best = 0, least = Infinity;
    occlusion.starts.forEach(([r, c], i) => {
      const distance = (r - down) ** 2 + (c - across) ** 2;
      if (distance < least) [least, best] = [distance, i];
    });
    const [r, c] = occlusion.starts[best], context = original.getContext("2d");
    const scaleX = (right - left) / columns, scaleY = (bottom - top) / rows;
    const mean = document.createElement("canvas");
    mean.width = mean.height = 1;
    mean.getContext("2d").drawImage(photo, 0, 0, 1, 1);
    const [red, green, blue] = mean.getContext("2d").getImageData(0, 0, 1, 1).data;
    context.fillStyle = `rgb(${red}, ${green}, ${blue})`;
    context.fillRect(left + c * scaleX, top + r * scaleY, wide * scaleX, high * scaleY);
    covered.textContent = occlusion.of === "probability" ? "Covered; before and after:" : "Covered; logits before and after:";
    scores.replaceChildren(...occlusion.classes.map((name, k) => {
      const line = document.createElement("tr"), head = document.createElement("th");
      head.scope = "row";
      head.textContent = name;
      line.append(head);
      const before = occlusion.before[k], after = before - occlusion.drops[k][best];
      for (const value of [before, after]) {
        const cell = document.createElement("td");
        cell.textContent = occlusion.of === "probability" ? `${(100 * value).toFixed(1)} %` : value.toFixed(2);
        line.append(cell);
      }
      return line;
    }));
  }

  function position(event) {
    const edge = shown.getBoundingClientRect();
    return [((event.clientX - edge.left) / edge.width) * width, ((event.clientY - edge.top) / edge.height) * height];
  }

  shown.addEventListener("pointermove", (event) => tell(...position(event)));
  shown.addEventListener("pointerleave", () => { said.textContent = ""; });
  shown.addEventListener("click", (event) => cover(...position(event)));
  shown.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step) {
      pointer = pointer || [(left + right) / 2, (top + bottom) / 2];
      pointer = [Math.min(width - 1, Math.max(0, pointer[0] + step[0] * width / 24)), Math.min(height - 1, Math.max(0, pointer[1] + step[1] * height / 24))];
      tell(...pointer);
    } else if (event.key === "Enter" && pointer) {
      cover(...pointer);
    } else if (event.key === "Escape") {
      pointer = null;
      plain();
    } else {
      return;
    }
    event.preventDefault();
    draw();
  });
  opacity.addEventListener("input", draw);
  section.querySelectorAll("[data-method]").forEach((button) => {
    button.addEventListener("click", () => {
      chosen = Number(button.dataset.method);
      section.querySelectorAll("[data-method]").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      const closer = find("closer");
      if (closer) closer.open = true;
      shown.setAttribute("aria-label", `The map of ${button.textContent.trim()}; arrow keys move a pointer over it, Enter covers the place`);
      said.textContent = "";
      draw();
      plain();
    });
  });
  photo.onload = () => { overview(); draw(); plain(); };
  photo.src = data.photo;
}

document.querySelectorAll("[data-card]").forEach(start);
})();
