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
    place.style.gridTemplateColumns = `repeat(${columns}, max-content)`;
    place.classList.add("cells");
    const tag = press ? "BUTTON" : "SPAN";
    // Cells stay where they can: a press that begins on one must end on it, and it keeps the focus.
    if (place.children.length !== rows * columns || [...place.children].some((node) => node.tagName !== tag)) {
      place.replaceChildren(...Array.from({ length: rows * columns }, () => {
        const node = lesson.make(tag, { type: press ? "button" : undefined });
        if (press) node.addEventListener("click", () => node.pressed());
        return node;
      }));
    }
    [...place.children].forEach((node, i) => {
      const [r, c] = [Math.floor(i / columns), i % columns];
      node.className = look(r, c);
      node.textContent = value(r, c);
      if (label) node.setAttribute("aria-label", label(r, c));
      if (press) node.pressed = () => press(r, c);
    });
  },

  // Arrow keys walk through steps anywhere but in a field that needs them itself.
  arrows: (back, on) => {
    document.addEventListener("keydown", (event) => {
      if (event.target.matches("input, select, textarea, [role=region]") || event.altKey || event.ctrlKey || event.metaKey) return;
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

// A grid of numbers to type into; `changed` is called after each that is one.
lesson.editable = (place, rows, name, changed) => {
  place.classList.add("cells");
  place.style.gridTemplateColumns = `repeat(${rows[0].length}, max-content)`;
  place.replaceChildren(...rows.flatMap((row, r) => row.map((value, c) => {
    const field = lesson.make("input", { type: "text", inputmode: "decimal", value: lesson.number(value), "aria-label": `${name}, row ${r + 1}, column ${c + 1}` });
    field.addEventListener("change", () => {
      const given = lesson.typed(field.value);
      if (given === null) field.value = lesson.number(rows[r][c]);
      else { rows[r][c] = given; changed(r, c); }
    });
    return field;
  })));
};

// 1234567 -> 1,234,567
lesson.many = (value) => value.toLocaleString("en-US");

// Which row and column of a drawing was pressed.
lesson.touched = (place, event, rows, columns) => {
  const box = place.getBoundingClientRect();
  const at = [Math.floor((event.clientY - box.top) / box.height * rows), Math.floor((event.clientX - box.left) / box.width * columns)];
  return [Math.min(rows - 1, Math.max(0, at[0])), Math.min(columns - 1, Math.max(0, at[1]))];
};

// A slider of id `name` that shows its value in `name-said`.
lesson.slider = (name, value, changed) => {
  const field = lesson.id(name);
  const said = () => { lesson.id(`${name}-said`).textContent = field.value; };
  field.value = value;
  said();
  field.addEventListener("input", () => { said(); changed(); });
};

// The whole number in a field, brought between its bounds.
lesson.whole = (field) => {
  const given = lesson.typed(field.value);
  const value = Math.min(Number(field.max), Math.max(Number(field.min), Math.round(given === null ? Number(field.min) : given)));
  field.value = value;
  return value;
};
