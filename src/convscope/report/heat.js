"use strict";
// Maps are drawn here: a byte per place, -127 to 127, coloured to be laid over the photo.
const heat = (() => {
  const LOW_TO_HIGH = [[56, 18, 92], [58, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  const AGAINST = [20, 92, 190], FOR = [222, 92, 0];

  function coloured(map) {
    const [height, width] = map.shape;
    const bytes = Int8Array.from(atob(map.values), (c) => c.charCodeAt(0));
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    for (let i = 0; i < bytes.length; i++) {
      const value = bytes[i] / 127;
      let colour, strength;
      if (map.signed) {
        colour = value < 0 ? AGAINST : FOR;
        strength = Math.abs(value);
      } else {
        const place = Math.max(0, value) * 4, low = Math.min(3, Math.floor(place)), part = place - low;
        colour = LOW_TO_HIGH[low].map((c, k) => c * (1 - part) + LOW_TO_HIGH[low + 1][k] * part);
        strength = 0.35 + 0.65 * Math.max(0, value);
      }
      image.data.set([...colour, 255 * strength], 4 * i);
    }
    context.putImageData(image, 0, 0);
    return { canvas, bytes };
  }

  // What the network has not seen.
  function stripes(context, width, height, box) {
    const [left, top, right, bottom] = box;
    context.save();
    context.beginPath();
    context.rect(0, 0, width, height);
    context.rect(left, top, right - left, bottom - top);
    context.clip("evenodd");
    context.fillStyle = "rgba(0, 0, 0, .65)";
    context.fillRect(0, 0, width, height);
    context.strokeStyle = "rgba(255, 255, 255, .25)";
    context.lineWidth = 1.5;
    for (let x = -height; x < width; x += 10) {
      context.beginPath();
      context.moveTo(x, height);
      context.lineTo(x + height, 0);
      context.stroke();
    }
    context.restore();
  }

  // The position that covers a place, given as fractions of what the network saw.
  function covering(occlusion, across, down) {
    const [rows, columns] = occlusion.space, [high, wide] = occlusion.window;
    let best = 0, least = Infinity;
    occlusion.starts.forEach(([r, c], i) => {
      const distance = (r + high / 2 - down * rows) ** 2 + (c + wide / 2 - across * columns) ** 2;
      if (distance < least) [least, best] = [distance, i];
    });
    return best;
  }

  const number = (value) => (value > 0 ? "+" : "") + Number(value.toPrecision(2));
  return { coloured, stripes, covering, number };
})();
