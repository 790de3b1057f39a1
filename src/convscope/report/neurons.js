"use strict";
(() => {
// Channels are cards, their patches one strip of tiles; everything comes from the page itself.
const content = JSON.parse(document.getElementById("neurons-data").textContent);
const root = document.querySelector("[data-neurons]");
const find = (name) => root.querySelector(`[data-${name}]`);
const dialog = find("dialog"), canvas = find("canvas");
const layers = content.layers.map((layer) => ({
  ...layer,
  shares: Uint8Array.from(atob(layer.shares), (c) => c.charCodeAt(0)),
}));
let shown = 0, order = content.classes.length ? "class" : "sparsity", dim = false, photo = -1, opened = -1;

function share(layer, place, on) {
  return layer.shares[on * layer.channels.length + place] / 255;
}

function chosenClass() {
  const select = find("class");
  return select ? Number(select.value) : -1;
}

function key(layer, place) {
  const channel = layer.channels[place], label = chosenClass();
  if (photo >= 0) return share(layer, place, photo);
  if (order === "class") return (label < 0 ? channel.auroc[channel.label] : channel.auroc[label]) ?? -1;
  if (order === "channel") return -channel.channel;
  return channel[order] ?? -1;
}

function said(layer, place) {
  const channel = layer.channels[place], parts = [];
  const label = chosenClass() < 0 ? channel.label : chosenClass();
  if (label >= 0) parts.push(`${content.classes[label]} ${(channel.auroc[label] ?? 0).toFixed(2)}`);
  parts.push(`sparsity ${channel.sparsity.toFixed(2)}`, `up to ${channel.most}`);
  if (photo >= 0) parts.push(`this photo: more than ${(100 * share(layer, place, photo)).toFixed(0)} % of photos`);
  return parts.join(" · ");
}

function card(layer, place) {
  const channel = layer.channels[place], article = document.createElement("article");
  article.className = "channel";
  const head = document.createElement("h3"), words = document.createElement("p"), tiles = document.createElement("div");
  head.textContent = `Channel ${channel.channel}`;
  words.textContent = said(layer, place);
  tiles.className = "tiles";
  channel.hits.forEach((hit, rank) => {
    const button = document.createElement("button"), of = content.photos[hit.photo];
    button.type = "button";
    button.style.backgroundImage = `url(${dim ? channel.dimmed : channel.plain})`;
    button.style.backgroundPosition = channel.hits.length > 1 ? `${(100 * rank) / (channel.hits.length - 1)}% 0` : "0 0";
    button.setAttribute("aria-label", `Patch ${rank + 1}: ${hit.value} on ${of.name}`);
    button.addEventListener("click", () => open(layer, channel, hit));
    tiles.append(button);
  });
  if (!channel.hits.length) words.textContent += " · no photo excites it";
  article.append(head, words, tiles);
  return article;
}

function draw() {
  const layer = layers[shown];
  root.querySelectorAll("[data-section]").forEach((section, number) => { section.hidden = number !== shown; });
  const section = root.querySelector(`[data-section="${shown}"]`);
  const places = layer.channels.map((_, place) => place).sort((a, b) => key(layer, b) - key(layer, a));
  section.querySelector("[data-order-said]").textContent = photo < 0 ? "" :
    `Channels that ${content.photos[photo].name} excites most come first.`;
  section.querySelector("[data-channels]").replaceChildren(...places.map((place) => card(layer, place)));
  root.querySelectorAll("[data-order]").forEach((button) => {
    button.setAttribute("aria-pressed", String(photo < 0 && button.dataset.order === order));
  });
}

function open(layer, channel, hit) {
  const of = content.photos[hit.photo], image = new Image();
  opened = hit.photo;
  image.onload = () => {
    const scale = Math.max(1, Math.min(2, 640 / Math.max(image.width, image.height)));
    canvas.width = Math.round(image.width * scale);
    canvas.height = Math.round(image.height * scale);
    const context = canvas.getContext("2d"), [left, top, right, bottom] = hit.box;
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    const box = [left * canvas.width, top * canvas.height, (right - left) * canvas.width, (bottom - top) * canvas.height];
    for (const [width, colour] of [[6, "#000"], [3, "#ffd400"]]) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.strokeRect(...box);
    }
  };
  image.src = of.uri;
  canvas.setAttribute("aria-label", `${of.name} with the patch framed`);
  find("what").textContent = `Channel ${channel.channel} of ${layer.name}: ${hit.value}`;
  const beyond = hit.beyond > 0 ? ` ${Math.round(100 * hit.beyond)} % of what this neuron looks at lies beyond the edge, in the padding.` : "";
  find("where").textContent = `${of.name}${of.label === null ? "" : `, ${of.label}`}.${beyond}`;
  dialog.showModal();
}

root.querySelectorAll("[data-order]").forEach((button) => {
  button.addEventListener("click", () => {
    order = button.dataset.order;
    photo = -1;
    find("photo").value = "";
    draw();
  });
});
find("layer")?.addEventListener("change", (event) => { shown = Number(event.target.value); draw(); });
find("class")?.addEventListener("change", () => {
  order = "class";
  photo = -1;
  find("photo").value = "";
  draw();
});
find("photo").addEventListener("input", (event) => {
  photo = content.photos.findIndex((one) => one.name === event.target.value);
  draw();
});
find("dim").addEventListener("click", (event) => {
  dim = !dim;
  event.currentTarget.setAttribute("aria-pressed", String(dim));
  draw();
});
find("search").addEventListener("click", () => {
  photo = opened;
  find("photo").value = content.photos[opened].name;
  dialog.close();
  draw();
});
find("close").addEventListener("click", () => dialog.close());
document.getElementById("neuron-photos").append(...content.photos.map((one) => {
  const option = document.createElement("option");
  option.value = one.name;
  return option;
}));
draw();
})();
