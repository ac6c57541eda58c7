"use strict";
const articles = [...document.querySelectorAll("article")];
const markers = [...document.querySelectorAll("nav button")];
const nameField = document.getElementById("name");
const message = document.getElementById("message");
const storageKey = "medssr-audit " + document.body.dataset.sheet;
const columns = [...articles[0].querySelectorAll("fieldset")].map((field) => field.dataset.criterion);
const optional = new Set(["best_answer", "comment"]);
// The same as in sheet.py: what a spreadsheet would run as a formula.
const formula = /^'*[=+\-@\t\r\n＝＋－＠]/;
let state = { name: "", current: 0, answers: {} };

function show(text) {
  message.textContent = text;
  message.hidden = !text;
}

function load() {
  try {
    state = Object.assign(state, JSON.parse(localStorage.getItem(storageKey)));
  } catch (error) {
    show("This browser keeps nothing for this page: save the file before you close it.");
  }
}

function keep() {
  try {
    localStorage.setItem(storageKey, JSON.stringify(state));
  } catch (error) {
    show("This browser keeps nothing for this page: save the file before you close it.");
  }
}

function answersOf(article) {
  return state.answers[article.dataset.id] || {};
}

function progressOf(article) {
  const answers = answersOf(article);
  if (!columns.some((name) => answers[name])) return "open";
  const needed = columns.filter((name) => !optional.has(name));
  if (answers.has_one_best_answer === "yes") needed.push("best_answer");
  return needed.every((name) => answers[name]) ? "done" : "begun";
}

function restore(article) {
  const answers = answersOf(article);
  for (const field of article.querySelectorAll("fieldset")) {
    const value = answers[field.dataset.criterion] || "";
    for (const input of field.querySelectorAll("input")) input.checked = input.value === value;
    for (const input of field.querySelectorAll("textarea")) input.value = value;
  }
  mark(article);
}

function record(article) {
  const answers = {};
  for (const field of article.querySelectorAll("fieldset")) {
    const input = field.querySelector("input:checked, textarea");
    if (input && input.value.trim()) answers[field.dataset.criterion] = input.value.trim();
  }
  if (answers.has_one_best_answer === "no") delete answers.best_answer;
  state.answers[article.dataset.id] = answers;
  keep();
  mark(article);
  showProgress();
}

function mark(article) {
  const letters = article.querySelector("[data-criterion=best_answer]");
  letters.disabled = answersOf(article).has_one_best_answer === "no";
  if (letters.disabled) for (const input of letters.querySelectorAll("input")) input.checked = false;
  markers[articles.indexOf(article)].className = progressOf(article);
}

function showProgress() {
  const done = articles.filter((item) => progressOf(item) === "done").length;
  document.querySelector(".progress").textContent = done + " of " + articles.length + " rated";
}

function open(index) {
  state.current = Math.max(0, Math.min(articles.length - 1, index));
  articles.forEach((article, place) => { article.hidden = place !== state.current; });
  markers.forEach((marker, place) => {
    if (place === state.current) marker.setAttribute("aria-current", "true");
    else marker.removeAttribute("aria-current");
  });
  keep();
  window.scrollTo(0, 0);
}

function openUnfinished() {
  const places = articles.map((_, place) => (state.current + 1 + place) % articles.length);
  const next = places.find((place) => progressOf(articles[place]) !== "done");
  if (next === undefined) show("Every question is rated. Save the file and send it back.");
  else open(next);
}

function csv() {
  const rows = [["id", "text_key", ...columns]];
  for (const article of articles) {
    if (progressOf(article) !== "done") continue;
    const answers = answersOf(article);
    rows.push([article.dataset.id, article.dataset.textKey, ...columns.map((name) => answers[name] || "")]);
  }
  const cell = (text) => '"' + (formula.test(text) ? "'" + text : text).replaceAll('"', '""') + '"';
  return "\ufeff" + rows.map((row) => row.map(cell).join(",") + "\n").join("");
}

function save() {
  const name = nameField.value.trim().replace(/[^\p{L}\p{N}]+/gu, "_");
  if (!name) {
    show("Enter your name or initials first: they name the file.");
    nameField.focus();
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = "verdicts-" + name + ".csv";
  link.click();
  const counts = { done: 0, begun: 0, open: 0 };
  for (const article of articles) counts[progressOf(article)] += 1;
  const rest = counts.begun ? " " + counts.begun + " that you have begun lack an answer and are not in the file." : "";
  show("Saved " + counts.done + " of " + articles.length + " questions as " + link.download + "." + rest);
}

load();
nameField.value = state.name;
articles.forEach(restore);
showProgress();
open(state.current);
nameField.addEventListener("input", () => { state.name = nameField.value; keep(); });
document.getElementById("save").addEventListener("click", save);
for (const article of articles) {
  article.addEventListener("input", () => record(article));
  article.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button && button.dataset.move) open(state.current + Number(button.dataset.move));
  if (button && button.dataset.index) open(Number(button.dataset.index));
});
document.addEventListener("keydown", (event) => {
  const isText = event.target.matches("textarea, input[type=text]");
  if (isText || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "n") open(state.current + 1);
  if (event.key === "p") open(state.current - 1);
  if (event.key === "u") openUnfinished();
});
