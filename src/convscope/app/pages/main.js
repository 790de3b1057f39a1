// Which page is shown: the address after # says it, so a reload and the back button work.
import { calm, id, make } from "./common.js";
import { forecast, table } from "./forecast.js";
import { home, jobs } from "./home.js";
import { look } from "./look.js";
import { photoSet } from "./photos.js";
import { classifier } from "./run.js";
import { refresh } from "./state.js";

const PAGES = [
  [/^#?\/?$/, (main) => home(main)],
  [/^#\/jobs$/, (main) => jobs(main)],
  [/^#\/photos\/(\w+)$/, photoSet],
  [/^#\/table\/(\w+)$/, table],
  [/^#\/run\/(\w+)\/look\/own\/(\w+)$/, (main, run, own) => look(main, run, { own })],
  [/^#\/run\/(\w+)\/look\/(\d+)$/, (main, run, row) => look(main, run, { row: Number(row) })],
  [/^#\/run\/(\w+)(?:\/(\w+))?$/, classifier],
  [/^#\/forecast\/(\w+)(?:\/(\w+))?$/, forecast],
];

let end = () => {};
let first = true;
function route() {
  end();
  calm();
  end = () => {};
  const main = id("main");
  for (const [pattern, shows] of PAGES) {
    const found = pattern.exec(location.hash.split("?")[0]);
    if (!found) continue;
    end = shows(main, ...found.slice(1)) || (() => {});
    if (!first) main.focus();
    first = false;
    return;
  }
  main.replaceChildren(make("h1", {}, "There is no such page"), make("p", {}, make("a", { href: "#/" }, "To the start")));
}

addEventListener("hashchange", route);
// A file that misses its card must not replace the page.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
// The title is the heading, which a page sets once it knows what it shows.
new MutationObserver(() => {
  const heading = id("main").querySelector("h1");
  document.title = heading ? `${heading.textContent} – convscope` : "convscope";
}).observe(id("main"), { childList: true, subtree: true, characterData: true });
refresh().then(route, route);
