"use strict";
// What the pages of all lessons share. Everything is put into the page as text, never as HTML.
const lesson = {
  data: JSON.parse(document.getElementById("data").textContent),

  id: (name) => document.getElementById(name),

  make: (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === true) node.setAttribute(name, "");
      else if (value !== false && value !== undefined) node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  },

  // Elements of a drawing.
  draw: (tag, attributes = {}, ...children) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  },

  // As lessons.lesson.number writes it.
  number: (value, decimals = 4) => {
    const text = value.toFixed(decimals);
    const short = text.includes(".") ? text.replace(/0+$/, "").replace(/\.$/, "") : text;
    return short === "-0" ? "0" : short;
  },

  // A number that somebody typed, or null.
  typed: (text) => {
    const value = Number(text.trim().replace(",", "."));
    return text.trim() !== "" && Number.isFinite(value) ? value : null;
  },

  // Fill a grid of cells: value(r, c) -> text, look(r, c) -> class names, press(r, c) if it is a button.
  cells: (place, rows, columns, { value, look = () => "", press, label }) => {
    const focused = [...place.children].indexOf(document.activeElement);
    place.style.gridTemplateColumns = `repeat(${columns}, max-content)`;
    place.classList.add("cells");
    const made = [];
    for (let r = 0; r < rows; r += 1) {
      for (let c = 0; c < columns; c += 1) {
        const node = lesson.make(press ? "button" : "span", {
          class: look(r, c),
          type: press ? "button" : undefined,
          "aria-label": label ? label(r, c) : undefined,
        }, value(r, c));
        if (press) node.addEventListener("click", () => press(r, c));
        made.push(node);
      }
    }
    place.replaceChildren(...made);
    if (press && focused >= 0 && made[focused]) made[focused].focus();
  },

  // Arrow keys walk through steps anywhere but in a field that needs them itself.
  arrows: (back, on) => {
    document.addEventListener("keydown", (event) => {
      if (event.target.matches("input, select, textarea") || event.altKey || event.ctrlKey || event.metaKey) return;
      if (event.key === "ArrowLeft") back();
      else if (event.key === "ArrowRight") on();
      else return;
      event.preventDefault();
    });
  },

  // A file chosen or dropped on `label` (which holds an input of type file) -> an image that is drawn.
  photo: (label, then, failed) => {
    const take = async (file) => {
      if (!file) return;
      try {
        then(await createImageBitmap(file), file.name);
      } catch {
        failed(`${file.name} is no picture that this browser can read. Try a JPEG or PNG.`);
      }
    };
    const input = label.querySelector("input");
    input.addEventListener("change", () => { take(input.files[0]); input.value = ""; });
    label.addEventListener("dragover", (event) => { event.preventDefault(); label.classList.add("over"); });
    label.addEventListener("dragleave", () => label.classList.remove("over"));
    label.addEventListener("drop", (event) => {
      event.preventDefault();
      label.classList.remove("over");
      take(event.dataTransfer.files[0]);
    });
  },
};

// A grid of fields for the numbers of `rows`, which are changed in place.
lesson.fields = (place, rows, name, changed) => {
  place.classList.add("cells");
  place.style.gridTemplateColumns = `repeat(${rows[0].length}, max-content)`;
  place.replaceChildren(...rows.flatMap((row, r) => row.map((value, c) => {
    const field = lesson.make("input", { type: "text", inputmode: "decimal", value: lesson.number(value), "aria-label": `${name}, row ${r + 1}, column ${c + 1}` });
    field.addEventListener("change", () => {
      const given = lesson.typed(field.value);
      if (given === null) field.value = lesson.number(row[c]);
      else { row[c] = given; changed(); }
    });
    return field;
  })));
};
