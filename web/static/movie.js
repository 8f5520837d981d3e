// Stars that change at once, and numbers that move when anybody rates. Without this script the form works.
import { follow, show, whole } from "./live.js";

const UNDO_MS = 15000;
const SPOKEN_EVERY_MS = 1000;
const movie = document.querySelector("[data-movie]").dataset.movie;
const form = document.querySelector("[data-rate]");

function draw(update) {
  show(document.querySelector("dd[data-average]"), update.average);
  show(document.querySelector("dd[data-count]"), whole(update.count));
  show(document.querySelector("dd[data-median]"), update.median);
  show(document.querySelector("dd[data-weighted]"), update.weighted);
  const longest = Math.max(...update.histogram, 1);
  const rows = document.querySelectorAll("[data-histogram] tbody tr");
  [...update.histogram].reverse().forEach((count, i) => {
    rows[i].querySelector("meter").value = Math.round((100 * count) / longest);
    show(rows[i].querySelector(".number"), whole(count));
  });
  say(`Average ${update.average} of ${whole(update.count)} ratings`);
}

let spokenAt = 0;
function say(text) {
  if (Date.now() - spokenAt < SPOKEN_EVERY_MS) return;
  spokenAt = Date.now();
  document.querySelector("[data-spoken]").textContent = text;
}

follow(`/movies/${movie}/live`, draw);

if (form) {
  document.documentElement.classList.add("scripted");
  const radios = [...form.querySelectorAll("input[type=radio]")];
  const state = form.querySelector(".state");
  const chosen = form.querySelector(".chosen");
  let stored = radios.find((one) => one.defaultChecked)?.value ?? "";
  let last = Promise.resolve();

  const name = (value) => radios.find((one) => one.value === value)?.nextElementSibling.title ?? "";
  const select = (value) => {
    radios.forEach((one) => { one.checked = one.value === value; });
    chosen.textContent = name(value);
    form.querySelector("[data-withdraw]")?.toggleAttribute("hidden", !value);
  };
  const newKey = () => {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    const hex = [...bytes].map((one) => one.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  };

  // One intent: one key, sent again once if no answer came. Intents are sent one after another.
  function rate(value) {
    select(value);
    state.textContent = "";
    const body = new URLSearchParams({ score: value, key: newKey() });
    last = last.then(() => send(value, body));
    return last;
  }

  async function send(value, body) {
    const before = stored;
    for (let attempt = 0; attempt < 2; attempt += 1) {
      let answer;
      try {
        answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" } });
      } catch {
        continue; // No answer: the same key makes a repeat safe.
      }
      if (answer.redirected) { location.assign(answer.url); return; }
      const text = await answer.text();
      if (answer.ok) {
        stored = value;
        state.textContent = value ? `Saved: ${name(value)}. ` : "Withdrawn. ";
        if (!value) offerUndo(before);
        return;
      }
      const page = new DOMParser().parseFromString(text, "text/html");
      failed(before, page.querySelector("h1")?.textContent ?? "It was not accepted");
      return;
    }
    failed(before, "The server does not answer");
  }

  function failed(before, reason) {
    select(before);
    state.textContent = `${reason}. Your rating is as it was.`;
  }

  function offerUndo(before) {
    if (!before) return;
    const undo = document.createElement("button");
    undo.type = "button";
    undo.textContent = `Undo: ${name(before)}`;
    undo.addEventListener("click", () => { undo.remove(); rate(before); });
    state.append(undo);
    undo.focus();
    setTimeout(() => undo.remove(), UNDO_MS);
  }

  // Arrows move among the stars; the choice is sent when they rest or are left.
  let resting = 0;
  const restThenRate = (value) => {
    select(value);
    clearTimeout(resting);
    resting = setTimeout(() => { if (value !== stored) rate(value); }, 400);
  };
  form.addEventListener("change", (event) => {
    if (event.target.type === "radio") restThenRate(event.target.value);
  });
  // Somebody may have chosen before this script was there.
  const early = radios.find((one) => one.checked)?.value ?? "";
  if (early !== stored) restThenRate(early);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(resting);
    const value = event.submitter?.name === "score" ? "" : (radios.find((one) => one.checked)?.value ?? "");
    rate(value);
  });
  // Digits choose: 1 to 5 are whole stars, the same digit again takes half a star off.
  form.querySelector(".stars").addEventListener("keydown", (event) => {
    if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      if (stored) rate("");
    } else if (/^[1-5]$/.test(event.key)) {
      event.preventDefault();
      const whole_ = `${event.key}.0`;
      const half = `${Number(event.key) - 1}.5`;
      const now = radios.find((one) => one.checked)?.value;
      const value = now === whole_ ? half : whole_;
      radios.find((one) => one.value === value).focus();
      restThenRate(value);
    }
  });
}
