// What the user has and what is going on, asked for again and again: often while something runs.
import { calm, fault, get, id } from "./common.js";

const BUSY = 700, QUIET = 8000;
let latest = { items: [], jobs: [] };
let timer = 0, silent = false;
const listeners = new Set();

export const active = (job) => job.status === "waiting" || job.status === "running";
export const state = () => latest;

// Called with every new state until the returned function is.
export function follow(listener) {
  listeners.add(listener);
  listener(latest);
  return () => listeners.delete(listener);
}

export async function refresh() {
  clearTimeout(timer);
  try {
    latest = await get("/api/state");
    if (silent) calm();
    silent = false;
    const busy = latest.jobs.filter(active).length;
    id("busy").hidden = !busy;
    id("busy").textContent = busy;
    id("busy").setAttribute("aria-label", `${busy} running or waiting`);
    for (const listener of [...listeners]) listener(latest);
  } catch (error) {
    silent = true;
    fault(error, true);
    throw error;
  } finally {
    clearTimeout(timer);
    timer = setTimeout(() => refresh().catch(() => {}), latest.jobs.some(active) ? BUSY : QUIET);
  }
}
