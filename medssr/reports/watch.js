
// A live page asks every few seconds what has changed, and keeps what its reader has opened, typed, sorted and scrolled to.
const EVERY_MS = 2000;
let version = null, shownProgress = null;
const keyed = (elements, keyOf) => {  // by keys that are the same in the next version; equal ones are numbered
  const counts = new Map(), result = new Map();
  for (const element of elements) {
    const key = keyOf(element), number = (counts.get(key) || 0) + 1;
    counts.set(key, number);
    result.set(`${key} ${number}`, element);
  }
  return result;
};
const all = (selector) => document.querySelectorAll(selector);
const detailsByKey = () => keyed(all("main details"), (each) => keyOfDetails(each));
const keyOfDetails = (each) => each.dataset.key || each.querySelector("summary").textContent;
const tablesByKey = () => keyed(all("main table"), (table) => {  // by where they stand: their columns may change
  const box = table.closest("details");
  const above = (heading) => heading.compareDocumentPosition(table) & Node.DOCUMENT_POSITION_FOLLOWING;
  return box ? keyOfDetails(box) : [...all("main h2")].filter(above).at(-1)?.textContent;
});
const placesByKey = () => keyed(all("main h2, main h3, main details, main tr, main figure"), (each) => each.dataset.key || each.textContent.slice(0, 80));
const sortOf = (table) => {
  const cell = [...table.tHead.rows[0].cells].find((each) => each.hasAttribute("aria-sort"));
  return cell ? [cell.textContent, cell.getAttribute("aria-sort")] : null;
};
const focusable = () => {
  const result = new Map();
  for (const bar of all(".filter")) for (const name of ["input", "select"]) {
    if (bar.querySelector(name)) result.set(`${name} ${bar.dataset.list}`, bar.querySelector(name));
  }
  for (const [key, each] of detailsByKey()) result.set(`summary ${key}`, each.querySelector("summary"));
  for (const [key, table] of tablesByKey()) [...table.tHead.rows[0].cells].forEach((cell, column) => {
    if (cell.querySelector("button")) result.set(`sort ${column} ${key}`, cell.querySelector("button"));
  });
  return result;
};
const keyIn = (map, element) => [...map].find(([, each]) => each === element)?.[0];
// Replaces some of the page and puts back what its reader has done.
const keeping = (replace) => {
  const fields = [...all(".filter")].map((bar) => [bar.dataset.list, bar.querySelector("input").value, bar.querySelector("select")?.value]);
  const open = new Map([...detailsByKey()].map(([key, each]) => [key, each.open]));
  const sorted = new Map([...tablesByKey()].map(([key, table]) => [key, sortOf(table)]));
  const inFocus = keyIn(focusable(), document.activeElement);
  const selection = document.activeElement?.selectionStart;
  const inView = [...placesByKey()].find(([, each]) => each.getBoundingClientRect().top >= 0 && each.offsetParent);
  const anchor = scrollY > 0 && inView ? [inView[0], inView[1].getBoundingClientRect().top] : null;
  const scrolled = scrollY;
  replace();
  for (const [list, text, kind] of fields) {
    const bar = document.querySelector(`.filter[data-list="${list}"]`);
    if (!bar || (!text && !kind)) continue;
    bar.querySelector("input").value = text;
    if (kind !== undefined) bar.querySelector("select").value = kind;
    bar.querySelector("input").dispatchEvent(new Event("input"));
  }
  for (const [key, each] of detailsByKey()) if (open.has(key)) each.open = open.get(key);
  for (const [key, table] of tablesByKey()) {
    const [column, direction] = sorted.get(key) || [];
    if (direction) makeSortable(table);  // details that were opened just now have not said so yet
    const button = direction && [...table.tHead.rows[0].cells].find((cell) => cell.textContent === column)?.querySelector("button");
    if (button && !sortOf(table)) for (let n = 0; n < (direction === "ascending" ? 1 : 2); n++) button.click();
  }
  const focused = inFocus && focusable().get(inFocus);
  if (focused && focused !== document.activeElement) {
    focused.focus({ preventScroll: true });
    if (selection !== undefined && selection !== null) focused.setSelectionRange(selection, selection);
  }
  const place = anchor && placesByKey().get(anchor[0]);
  if (place) scrollBy(0, place.getBoundingClientRect().top - anchor[1]);
  else scrollTo(0, scrolled);
};
const showPage = (text) => {
  const next = new DOMParser().parseFromString(text, "text/html");
  document.title = next.title;
  keeping(() => {
    const shown = new Map([...all("main img")].map((image) => [image.getAttribute("src"), image]));
    document.querySelector("main").replaceWith(next.querySelector("main"));
    for (const image of all("main img")) {  // those that are the same stay, and do not flicker
      const same = shown.get(image.getAttribute("src"));
      if (same) image.replaceWith(same);
    }
    prepare(document);
  });
};
const ask = async () => {
  try {
    const state = await (await fetch("state")).json();
    const isReading = !getSelection().isCollapsed;  // what is selected stays until it is copied
    if (version === null) version = Number(document.documentElement.dataset.version);
    if (state.version !== version && !isReading) {
      showPage(await (await fetch("./")).text());
      version = Number(state.version);
      shownProgress = null;
    }
    if (state.progress !== shownProgress && !isReading) {
      keeping(() => {
        document.getElementById("progress").innerHTML = state.progress;
        prepare(document.getElementById("progress"));
      });
      shownProgress = state.progress;
    }
    document.getElementById("connection").hidden = true;
  } catch {
    document.getElementById("connection").hidden = false;
  }
};
const watch = async () => {
  if (!document.hidden) await ask();
  setTimeout(watch, EVERY_MS);
};
document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
watch();
