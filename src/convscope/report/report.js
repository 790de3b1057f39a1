"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const make = (tag, text, className) => {
    const node = document.createElement(tag);
    // textContent only: names of files and classes are not HTML.
    if (text !== undefined) node.textContent = text;
    if (className) node.className = className;
    return node;
  };

  // Photos behind a cell of the confusion matrix.
  const dialog = document.getElementById("cell");
  const list = document.getElementById("cell-photos");

  const picture = (id, photo) => {
    const inPage = document.getElementById(`photo-${id}`);
    const src = photo.src || (inPage && inPage.src);
    if (!src) {
      const field = make("span", "no photo", "no-photo");
      field.setAttribute("role", "img");
      field.setAttribute("aria-label", `${photo.name} is no longer there or cannot be read`);
      return field;
    }
    const img = make("img");
    img.src = src;
    img.alt = photo.name;
    return img;
  };

  const card = (id) => {
    const photo = data.photos[id];
    const label = data.classes[photo.label];
    const said = data.classes[photo.predicted];
    const item = make("li");
    const figure = make("figure");
    const caption = make("figcaption");
    const file = make("span", photo.name, "file");
    file.title = photo.path;
    const right = photo.label === photo.predicted;
    caption.append(file, "says ", make("b", said, right ? "blue" : "orange"), ` ${photo.p.toFixed(2)}`);
    if (!right) caption.append(", is ", make("b", label, "blue"), ` ${photo.pLabel.toFixed(2)}`);
    figure.append(picture(id, photo), caption);
    item.append(figure);
    return item;
  };

  const open = (button) => {
    const [split, row, column] = button.dataset.cell.split(" ");
    const count = Number.parseInt(button.textContent, 10);
    const ids = data.cells[button.dataset.cell] || [];
    const right = row === column;
    document.getElementById("cell-title").textContent = right
      ? `${data.classes[row]}, named correctly`
      : `${data.classes[row]}, named ${data.classes[column]}`;
    const order = right ? "least sure first" : "surest first";
    const word = { test: "test", valid: "validation" }[split];
    const all = `${count} ${word} photo${count === 1 ? "" : "s"}`;
    document.getElementById("cell-note").textContent =
      ids.length < count
        ? `${ids.length} of ${all} shown, ${order}; predictions.parquet lists all of them.`
        : count === 1 ? all : `${all}, ${order}.`;
    list.replaceChildren(...ids.map(card));
    dialog.showModal();
    dialog.scrollTop = 0;
  };

  for (const button of document.querySelectorAll("button[data-cell]")) {
    button.addEventListener("click", () => open(button));
  }
  document.getElementById("cell-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });

  // One tab stop per matrix; arrow keys go to the next number in their direction.
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  for (const table of document.querySelectorAll("table.matrix")) {
    const buttons = [...table.querySelectorAll("button")];
    buttons.forEach((button, i) => { button.tabIndex = i ? -1 : 0; });
    table.addEventListener("keydown", (event) => {
      const step = steps[event.key];
      if (!step || !event.target.matches("button")) return;
      event.preventDefault();
      let row = event.target.closest("tr").rowIndex;
      let column = event.target.closest("td").cellIndex;
      for (;;) {
        row += step[0];
        column += step[1];
        const cell = row > 0 && table.rows[row] && table.rows[row].cells[column];
        if (!cell || cell.tagName === "TH") return;
        const next = cell.querySelector("button");
        if (!next) continue;
        event.target.tabIndex = -1;
        next.tabIndex = 0;
        next.focus();
        return;
      }
    });
  }

  // Sorting: numbers downwards first, names upwards first; what has no figure stays last.
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if (!head.hasAttribute("aria-sort")) return;
      const button = make("button", head.textContent);
      button.type = "button";
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const first = column ? "descending" : "ascending";
        const second = column ? "ascending" : "descending";
        const order = head.getAttribute("aria-sort") === first ? second : first;
        for (const other of heads) {
          if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
        }
        head.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        const value = (row) => row.cells[column].dataset.value;
        const rows = [...table.tBodies[0].rows].sort((a, b) => {
          const [x, y] = [value(a), value(b)];
          if (x === "" || y === "") return (x === "") - (y === "");
          return sign * (column ? x - y : x.localeCompare(y, undefined, { numeric: true }));
        });
        table.tBodies[0].append(...rows);
      });
    });
  }

  // A sheet of paper cannot be unfolded; the tables behind the charts are not worth its pages.
  let folded = [];
  window.addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open], .behind)")];
    for (const node of folded) node.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const node of folded) node.open = false;
  });
})();
