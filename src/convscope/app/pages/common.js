// What all pages of the app share. Whatever comes from outside is put in as text, never as HTML.
export const id = (name) => document.getElementById(name);

export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, does] of Object.entries(value)) node.addEventListener(event, does);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== undefined && value !== null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function draw(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export const button = (text, does, attributes = {}) => make("button", { type: "button", on: { click: does }, ...attributes }, text);
export const link = (text, to, attributes = {}) => make("a", { href: to, ...attributes }, text);
export const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)}\u00a0%`;
export const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
export const day = (text) => new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

let hiding = 0;
export function fault(error, lasting = false) {
  id("fault-text").textContent = error instanceof Error ? error.message : String(error);
  id("fault").hidden = false;
  clearTimeout(hiding);
  if (!lasting) hiding = setTimeout(calm, 30000);
}
export const calm = () => { id("fault").hidden = true; };
id("fault-close").addEventListener("click", calm);

// What a page has to end when it is left; what is added after that is ended at once.
export function scope() {
  const ends = [];
  const one = { over: false, add: (end) => { if (one.over) end(); else ends.push(end); }, end: () => { one.over = true; ends.splice(0).forEach((end) => end()); } };
  return one;
}

// Rebuild a part of the page; whoever stood on one of its links or buttons stands there again.
export function rebuilt(place, rebuild) {
  const here = place.contains(document.activeElement) ? document.activeElement : null;
  const mark = here && (here.getAttribute("href") || here.getAttribute("aria-label"));
  rebuild();
  if (mark) [...place.querySelectorAll("a, button")].find((node) => node.getAttribute("href") === mark || node.getAttribute("aria-label") === mark)?.focus();
}

// What stands behind ? in the address: it survives a reload and the back button.
export const asked = () => new URLSearchParams(location.hash.split("?")[1] || "");
export function remember(given) {
  const kept = Object.entries(given).filter(([, value]) => value !== "" && value !== null && value !== undefined && value !== false && value !== 0);
  const path = location.hash.split("?")[0] || "#/";
  history.replaceState(null, "", kept.length ? `${path}?${new URLSearchParams(kept)}` : path);
}

export const told = (text) => { id("told").textContent = text; };

// Run something that may fail, and say why.
export const trying = (does) => async (...given) => {
  try {
    return await does(...given);
  } catch (error) {
    if (error.name !== "AbortError") fault(error);
    return undefined;
  }
};

async function answered(response) {
  const found = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(found.error || `The page answered ${response.status}. Is convscope app still running?`);
  return found;
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("convscope app does not answer. Is it still running?");
  }
  return answered(response);
}

const query = (given) => {
  const kept = Object.entries(given || {}).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return kept.length ? `?${new URLSearchParams(kept)}` : "";
};
export const get = (path, given, signal) => request(path + query(given), { signal });
export const post = (path, body) => request(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body ?? {}) });
export const send = (path, given, file, { signal, method = "PUT" } = {}) => request(path + query(given), { method, body: file, signal });
export const remove = (path) => request(path, { method: "DELETE" });

// `loading` gave nothing: the thing is gone, or cannot be read; the fault says why.
export async function gone(main, loading) {
  if ((await loading) !== undefined) return;
  if (!main.querySelector("section, .tabs, .job, table")) {
    main.append(make("p", {}, "It cannot be shown. "), make("p", {}, make("a", { href: "#/" }, "To the start")));
  }
}

// Ask before something is lost.
export function sure(title, text, yes) {
  id("ask-title").textContent = title;
  id("ask-text").textContent = text;
  id("ask-yes").textContent = yes;
  const dialog = id("ask");
  return new Promise((resolve) => {
    const done = (answer) => { dialog.close(); resolve(answer); };
    id("ask-yes").onclick = () => done(true);
    id("ask-no").onclick = () => done(false);
    dialog.oncancel = () => resolve(false);
    dialog.showModal();
    id("ask-no").focus();
  });
}
