"use strict";
// Makes lists and tables of the page answer; a live page calls it again for each new version of its content.
function prepare(root) {
  // Lists: a search box and a choice of kinds, which hide the items that do not match.
  for (const bar of root.querySelectorAll(".filter")) {
    const items = [...document.getElementById(bar.dataset.list).querySelectorAll(".item")];
    const search = bar.querySelector("input"), kinds = bar.querySelector("select"), shown = bar.querySelector("output");
    let texts = null;
    const update = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      if (words.length && !texts) texts = items.map((item) => item.textContent.toLowerCase());
      let number = 0;
      items.forEach((item, index) => {
        const fits = words.every((word) => texts[index].includes(word)) && (!kinds || !kinds.value || item.dataset.kind === kinds.value);
        item.hidden = !fits;
        number += fits;
      });
      shown.textContent = `${number} of ${items.length}`;
    };
    search.addEventListener("input", update);
    if (kinds) kinds.addEventListener("change", update);
    bar.hidden = false;
    update();
  }
  // Tables: those in details that are closed, most of a large page, are made to answer when they are opened.
  for (const table of root.querySelectorAll("table")) {
    const closed = table.closest("details:not([open])");
    if (closed) closed.addEventListener("toggle", () => makeSortable(table), {once: true});
    else makeSortable(table);
  }
}
// A button in each heading sorts the rows by its column, numbers by value, and again the other way round.
function makeSortable(table) {
  const body = table.tBodies[0], headings = [...table.tHead.rows[0].cells];
  if (!body || body.rows.length < 2 || headings[0].querySelector("button")) return;
  let above = "";
  for (const row of body.rows) {  // a first label that is left out is that of the row above
    above = row.cells[0].textContent.trim() || above;
    row.dataset.first = above;
  }
  const value = (row, column) => {
    const text = column === 0 ? row.dataset.first : row.cells[column].textContent.trim();
    const number = Number.parseFloat(text.replace(/[,<>]/g, "").replace("\u2212", "-"));
    return [Number.isNaN(number) ? Infinity : number, text];
  };
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [value(row, column), row]);
      rows.sort(([[a, s]], [[b, t]]) => (a === b ? sign * s.localeCompare(t) : sign * (a < b ? -1 : 1)));
      for (const [, row] of rows) {
        row.classList.remove("group");
        row.cells[0].textContent = row.dataset.first;
        body.append(row);
      }
    });
  });
}
prepare(document);
