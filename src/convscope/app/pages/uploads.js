// Sending photos: a folder file by file, or a zip.
import { count, fault, id, make, post, remove, send, told, trying } from "./common.js";
import { refresh } from "./state.js";

// Requests at a time.
const LANES = 4;

async function* walk(entry, path = "") {
  if (entry.isFile) {
    yield [path + entry.name, await new Promise((resolve, reject) => entry.file(resolve, reject))];
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const inner of some) yield* walk(inner, `${path}${entry.name}/`);
  }
}

async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry()).filter(Boolean);
  const files = [];
  for (const entry of entries) for await (const one of walk(entry)) files.push(one);
  return files;
}

const isZip = (name) => /\.zip$/i.test(name);

// How far it is stands above every page: one can go on meanwhile.
async function upload(files) {
  const place = id("sending"), from = location.hash;
  if (!files.length) throw new Error("No files came. Choose a folder with one sub-folder for each class, or a zip of one.");
  const zip = files.length === 1 && isZip(files[0][0]);
  const name = zip ? files[0][0].replace(/\.zip$/i, "") : files[0][0].includes("/") ? files[0][0].split("/")[0] : "Photos";
  const made = (await post("/api/photos", { name })).id;
  const stopping = new AbortController();
  const bar = make("progress", { max: files.length, value: 0, "aria-label": "Sending" });
  const said = make("p", { class: "aside" }, `Sending ${name} …`);
  const cancel = make("button", { type: "button", on: { click: () => stopping.abort() } }, "Cancel");
  place.replaceChildren(said, bar, cancel);
  const leaving = (event) => event.preventDefault();
  addEventListener("beforeunload", leaving);
  try {
    if (zip) {
      bar.removeAttribute("value");
      await send(`/api/photos/${made}/zip`, {}, files[0][1], { signal: stopping.signal });
      said.textContent = "Unpacking …";
    } else {
      let next = 0, left = 0;
      const lane = async () => {
        while (next < files.length) {
          const [path, file] = files[next++];
          const { kept } = await send(`/api/photos/${made}/files`, { path }, file, { signal: stopping.signal });
          if (!kept) left += 1;
          bar.value += 1;
          said.textContent = `Sending ${name}: ${bar.value.toLocaleString("en")} of ${count(files.length, "file")}${left ? `, ${left} of them no photos` : ""}`;
        }
      };
      await Promise.all(Array.from({ length: LANES }, lane));
    }
    await post(`/api/photos/${made}/finish`);
    told(`${name} is here`);
    if (location.hash === from) location.hash = `#/photos/${made}`;
  } catch (error) {
    stopping.abort();
    await remove(`/api/items/${made}`).catch(() => {});
    if (error.name === "AbortError") told("Not sent.");
    else throw error;
  } finally {
    removeEventListener("beforeunload", leaving);
    place.replaceChildren();
    await refresh();
  }
}

// A card that takes a folder or a zip, chosen or dropped.
export function photoDrop(card, buttons) {
  const chosen = trying(upload);
  const choose = (text, attributes, path) => {
    const input = make("input", { type: "file", class: "hidden", ...attributes, on: { change: () => {
      const files = [...input.files].map((file) => [path(file), file]);
      input.value = "";
      chosen(files);
    } } });
    return make("label", { class: "file" }, text, input);
  };
  buttons.append(
    choose("Choose a folder", { webkitdirectory: true, multiple: true }, (file) => file.webkitRelativePath || file.name),
    choose("Choose a zip", { accept: ".zip,application/zip" }, (file) => file.name),
  );
  takeDrops(card, async (transfer) => chosen(await dropped(transfer)));
}

export function takeDrops(card, then) {
  card.addEventListener("dragover", (event) => { event.preventDefault(); card.classList.add("over"); });
  card.addEventListener("dragleave", () => card.classList.remove("over"));
  card.addEventListener("drop", (event) => {
    event.preventDefault();
    card.classList.remove("over");
    Promise.resolve(then(event.dataTransfer)).catch(fault);
  });
}
